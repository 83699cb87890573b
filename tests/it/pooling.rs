//! A pooler before the database: sessions of one's own are served, sessions that are shared refused.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use taskd_testing::{Db, World, eventually, postgres_url};

/// A pgbouncer before the shared PostgreSQL.
struct Pooler {
    child: Child,
    port: u16,
    directory: PathBuf,
}

impl Pooler {
    async fn start(world: &World, mode: &str) -> Pooler {
        Pooler::start_with(world, mode, "").await
    }

    async fn start_with(world: &World, mode: &str, more: &str) -> Pooler {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let directory = std::env::temp_dir().join(format!("{}_{mode}", world.name));
        std::fs::create_dir_all(&directory).unwrap();
        let server = url::Url::parse(&postgres_url()).unwrap();
        let (host, server_port) = (server.host_str().unwrap(), server.port().unwrap_or(5432));
        let user = server.username();
        let configuration = directory.join("pgbouncer.ini");
        std::fs::write(
            &configuration,
            format!(
                "[databases]\n* = host={host} port={server_port} user={user}\n[pgbouncer]\n\
                 listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = any\npool_mode = {mode}\n{more}"
            ),
        )
        .unwrap();
        let mut command = Command::new("pgbouncer");
        // It refuses to be run by root.
        if Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n") {
            command.args(["-u", "postgres"]);
        }
        let child = command.arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.expect("pgbouncer must be installed");
        let pooler = Pooler { child, port, directory };
        eventually("the pooler listens", || async {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()
        })
        .await;
        pooler
    }

    fn url(&self, world: &World) -> String {
        let user = url::Url::parse(&postgres_url()).unwrap().username().to_owned();
        format!("postgres://{user}@127.0.0.1:{}/{}", self.port, world.name)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_pooler_that_shares_sessions_is_refused_at_the_start_by_every_role() {
    let world = World::new().await;
    for mode in ["transaction", "statement"] {
        let pooler = Pooler::start(&world, mode).await;
        let url = pooler.url(&world);
        for role in [
            &["serve"] as &[&str],
            &["work"],
            &["up"],
            &["migrate"],
            &["migrate", "--status"],
            &["purge", "--once"],
            &["token", "create", "--user", "1"],
            &["dlq", "list"],
        ] {
            let refused = world.run_with(role, &[("DATABASE_URL", &url)]).await.exited(1);
            assert!(refused.stderr.contains("DATABASE_URL"), "{role:?}: {refused:?}");
            assert!(refused.stderr.contains("pool_mode=session"), "{role:?}: {refused:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_pooler_that_deals_out_its_sessions_in_turn_is_refused_too() {
    let world = World::new().await;
    for sessions in [2, 3, 4] {
        let more = "server_round_robin = 1\n";
        let pooler = Pooler::start_with(&world, "transaction", more).await;
        let url = pooler.url(&world);
        // So many at the same moment make the pooler open as many sessions.
        let busy = (0..sessions).map(|_| async {
            Db::connect(&url).await.run("BEGIN; SELECT pg_sleep(0.5); COMMIT").await;
        });
        futures_util::future::join_all(busy).await;
        let refused = world.run_with(&["work"], &[("DATABASE_URL", &url)]).await.exited(1);
        assert!(refused.stderr.contains("pool_mode=session"), "{sessions}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs services: scripts/test"]
async fn a_pooler_that_gives_each_connection_a_session_serves_everything() {
    let world = World::unmigrated().await;
    let pooler = Pooler::start(&world, "session").await;
    let url = pooler.url(&world);
    let pooled = [("DATABASE_URL", url.as_str())];
    world.run_with(&["migrate", "--example"], &pooled).await.succeeded();
    let (serve, work) = (world.serve_with(&pooled).await, world.work("w", &pooled).await);
    for number in 0..20 {
        serve.api().task(&format!("t{number}"), Some(1)).await;
    }
    let db = world.db().await;
    eventually("every event has its effects", || async {
        (db.count("processed_messages WHERE state = 'done'").await == 40).then_some(())
    })
    .await;
    for process in [&serve, &work] {
        process.signal("TERM");
        assert!(process.exit().await.success());
    }
}
