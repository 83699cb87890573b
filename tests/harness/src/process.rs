//! The real program as a child process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::{Api, eventually};

/// A command that has ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    #[track_caller]
    pub fn succeeded(self) -> Finished {
        self.exited(0)
    }

    #[track_caller]
    pub fn exited(self, code: i32) -> Finished {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Everything it has said.
    pub fn output(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Longer than any command takes; one that takes longer has hung.
const LONGEST_RUN: Duration = Duration::from_secs(60);

pub async fn run(mut command: Command) -> Finished {
    command.stdout(Stdio::piped());
    run_as_it_is(command).await
}

/// The same with standard output wherever the command sends it.
pub async fn run_as_it_is(mut command: Command) -> Finished {
    command.stderr(Stdio::piped());
    let mut command = tokio::process::Command::from(command);
    let running = command.kill_on_drop(true).spawn().unwrap().wait_with_output();
    let output =
        tokio::time::timeout(LONGEST_RUN, running).await.expect("the command ends").unwrap();
    Finished {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A role that runs. It is killed when this is dropped; after a panic its last lines are shown.
pub struct Process {
    name: String,
    child: Arc<Mutex<Child>>,
    lines: Arc<Mutex<Vec<String>>>,
    /// Whether `lines` has the last line there will be.
    complete: Arc<AtomicBool>,
    address: Option<String>,
}

impl Process {
    pub fn start(mut command: Command, name: &str) -> Process {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let complete: Arc<AtomicBool> = Arc::default();
        let ended = Arc::clone(&complete);
        let (stderr, sink) = (child.stderr.take().unwrap(), Arc::clone(&lines));
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.lock().unwrap().push(line);
            }
            ended.store(true, Ordering::Release);
        });
        Process {
            name: name.to_owned(),
            child: Arc::new(Mutex::new(child)),
            lines,
            complete,
            address: None,
        }
    }

    pub(super) fn child(&self) -> Arc<Mutex<Child>> {
        Arc::clone(&self.child)
    }

    /// Everything it has logged, as text.
    pub fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    /// Its log lines so far.
    pub fn logs(&self) -> Vec<Value> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The first log line that is like that, once there is one.
    pub async fn log(&self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("{}: {what}", self.name), || async {
            // Asked first: what it logged last is then in the lines.
            let complete = self.complete.load(Ordering::Acquire);
            let found = self.logs().into_iter().find(|line| like(line));
            if found.is_none() && complete {
                panic!("{} has ended before {what}:\n{}", self.name, self.text());
            }
            found
        })
        .await
    }

    /// Waits for the log line that says where it listens.
    pub async fn wait_for_address(&mut self, message: &str) {
        let line = self
            .log("it listens", |line| {
                line["message"].as_str().is_some_and(|m| m.starts_with(message))
            })
            .await;
        self.address = Some(line["address"].as_str().unwrap().to_owned());
    }

    /// A client of what it serves: the API, or health and metrics.
    pub fn api(&self) -> Api {
        Api::at(self.address.as_ref().expect("it listens"))
    }

    pub fn pid(&self) -> u32 {
        self.child.lock().unwrap().id()
    }

    /// Sends a signal by its name without SIG.
    pub fn signal(&self, name: &str) {
        let status =
            Command::new("kill").arg(format!("-{name}")).arg(self.pid().to_string()).status();
        assert!(status.unwrap().success(), "kill -{name} {}", self.name);
    }

    /// Waits for its end, and for the last of its log.
    pub async fn exit(&self) -> ExitStatus {
        eventually(&format!("{} ends", self.name), || async {
            let status = self.child.lock().unwrap().try_wait().unwrap();
            status.filter(|_| self.complete.load(Ordering::Acquire))
        })
        .await
    }

    /// SIGKILL, and waits for its end.
    pub async fn kill_9(&self) {
        self.signal("KILL");
        self.exit().await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&self.child);
        if std::thread::panicking() {
            let lines = self.lines.lock().unwrap();
            eprintln!("--- the last lines of taskd {}", self.name);
            lines.iter().rev().take(30).rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

pub(super) fn kill(child: &Mutex<Child>) {
    let mut child = child.lock().unwrap();
    // One that has ended already can't be killed, which is as well.
    let _ = child.kill();
    let _ = child.wait();
}
