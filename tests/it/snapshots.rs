//! Texts that users see, held against how they were. UPDATE_SNAPSHOTS=1 accepts what they are now.

use std::path::PathBuf;

use taskd_testing::World;

#[track_caller]
pub fn assert_snapshot(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots").join(name);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        return;
    }
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let first =
        before.lines().zip(text.lines()).enumerate().find(|(_, (before, now))| before != now);
    assert!(
        before == text,
        "{name} has changed, first in line {:?}. If that is meant, run again with UPDATE_SNAPSHOTS=1.\n{text}",
        first.map(|(index, _)| index + 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_of_every_role_is_as_it_was() {
    for arguments in [
        "",
        "serve",
        "up",
        "work",
        "migrate",
        "purge",
        "topology",
        "topology declare",
        "topology show",
        "topology check",
        "ps",
        "doctor",
        "events",
        "events list",
        "events show",
        "dlq",
        "dlq list",
        "dlq show",
        "dlq replay",
        "dlq groups",
        "dlq replays",
        "dlq stop",
        "dlq resume",
        "dlq edit",
        "dlq discard",
        "audit",
        "audit list",
        "webhooks",
        "webhooks list",
        "webhooks create",
        "webhooks show",
        "webhooks update",
        "webhooks delete",
        "webhooks rotate-secret",
        "webhooks ping",
        "webhooks deliveries",
        "webhooks delivery",
        "webhooks resend",
        "webhooks recover",
        "webhooks replay-history",
        "webhooks rotate-key",
        "token",
        "token create",
        "token list",
        "token revoke",
    ] {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_taskd"));
        command.args(arguments.split_whitespace()).arg("--help");
        // Without a terminal, and without values in the environment that the help would show.
        command.env_clear().stdin(std::process::Stdio::null()).current_dir(std::env::temp_dir());
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{arguments}");
        let name = if arguments.is_empty() { "taskd" } else { arguments };
        let text = String::from_utf8(output.stdout).unwrap();
        assert_snapshot(&format!("help/{}.txt", name.replace(' ', "-")), &text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_variables_of_the_readme_are_in_the_help_of_the_roles_that_read_them() {
    let world = World::cut_off();
    let broker = ["RABBITMQ_URL", "QUEUE_NAME", "RETRY_QUEUE", "DLQ", "RETRY_DELAYS"];
    let serve =
        [&broker[..], &["DATABASE_URL", "REDIS_URL", "PORT", "TASKD_HOST", "DRAIN_TIMEOUT"]]
            .concat();
    let work = [&broker[..], &["DATABASE_URL", "SMTP_URL", "CONCURRENCY", "TASKD_ENV"]].concat();
    for (role, variables) in
        [("serve", serve), ("work", work), ("migrate", vec!["DATABASE_URL", "LOG_FORMAT"])]
    {
        let help = world.run(&[role, "--help"]).await.succeeded().stdout;
        for variable in variables {
            assert!(help.contains(&format!("[env: {variable}")), "{role}: {variable}");
        }
        assert!(
            !help.contains("127.0.0.1:1\n") && !help.contains("127.0.0.1:1/"),
            "no value of a URL: {help}"
        );
    }
}
