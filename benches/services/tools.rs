//! The load generators that are programs of their own, and what they print.

use std::path::Path;
use std::process::Stdio;

/// What a load generator has seen.
pub struct Load {
    /// Answers, or transactions, a second.
    pub rate: f64,
    /// 99 of 100 of them took no longer, in milliseconds.
    pub p99: f64,
}

/// Runs a Lua script of wrk against a URL. An answer that is no success ends the run.
pub async fn wrk(directory: &Path, url: &str, script: &str, clients: usize, seconds: u64) -> Load {
    let file = directory.join("wrk.lua");
    std::fs::write(&file, script).unwrap();
    let threads = clients.min(2);
    let output = run(tokio::process::Command::new("wrk")
        .args([format!("-t{threads}"), format!("-c{clients}"), format!("-d{seconds}s")])
        .args(["--latency", "-s"])
        .arg(&file)
        .arg(url))
    .await;
    for trouble in ["Non-2xx", "Socket errors"] {
        assert!(!output.contains(trouble), "{output}");
    }
    let after = |label: &str| {
        let line = output.lines().find_map(|line| line.trim().strip_prefix(label));
        line.unwrap_or_else(|| panic!("no {label}: {output}")).trim().to_owned()
    };
    Load { rate: after("Requests/sec:").parse().unwrap(), p99: milliseconds(&after("99%")) }
}

fn milliseconds(text: &str) -> f64 {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1000.0)] {
        if let Some(number) = text.strip_suffix(unit) {
            return number.parse::<f64>().unwrap() * factor;
        }
    }
    panic!("no time: {text}")
}

/// Posts a body so many times in all, and how many a second that were. Each must be answered 201.
pub async fn hey(url: &str, body: &str, clients: usize, count: usize) -> f64 {
    let output = run(tokio::process::Command::new("hey")
        .args(["-n", &count.to_string(), "-c", &clients.to_string(), "-m", "POST"])
        .args(["-T", "application/json", "-d", body, url]))
    .await;
    let created = output.lines().find_map(|line| line.trim().strip_prefix("[201]"));
    let created = created.and_then(|rest| rest.split_whitespace().next());
    assert_eq!(created, Some(count.to_string().as_str()), "{output}");
    let rate = output.lines().find_map(|line| line.trim().strip_prefix("Requests/sec:"));
    rate.unwrap_or_else(|| panic!("{output}")).trim().parse().unwrap()
}

/// Runs a script of pgbench.
pub async fn pgbench(
    directory: &Path,
    database: &str,
    script: &str,
    clients: usize,
    seconds: u64,
) -> Load {
    const LOG: &str = "pgbench.log";
    let file = directory.join("pgbench.sql");
    std::fs::write(&file, script).unwrap();
    let output = run(tokio::process::Command::new("pgbench")
        .args(["-n", "-M", "prepared", "-c", &clients.to_string()])
        .args(["-j", &clients.min(2).to_string(), "-T", &seconds.to_string()])
        // It knows means alone; what some of its transactions took it writes down, a file for each thread.
        .args(["--log", "--sampling-rate=0.2", "--log-prefix"])
        .arg(directory.join(LOG))
        .arg("-f")
        .arg(&file)
        .arg(database))
    .await;
    let line = output.lines().find_map(|line| line.strip_prefix("tps = "));
    let number = line.and_then(|line| line.split(' ').next());
    let rate = number.unwrap_or_else(|| panic!("{output}")).parse().unwrap();

    let mut took = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_string_lossy().starts_with(LOG) {
            let log = std::fs::read_to_string(&path).unwrap();
            // client, transaction, microseconds, and more
            let micros = log.lines().filter_map(|line| line.split(' ').nth(2)?.parse::<u32>().ok());
            took.extend(micros);
            std::fs::remove_file(path).unwrap();
        }
    }
    took.sort_unstable();
    Load { rate, p99: f64::from(took[(took.len() - 1) * 99 / 100]) / 1e3 }
}

async fn run(command: &mut tokio::process::Command) -> String {
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    text(&output.stdout)
}
