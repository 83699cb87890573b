//! `taskd dlq replay`, `resume` and `stop`: plans that a worker carries out.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use super::super::progress::Progress;
use super::args::{LetterSourceArgs, OneReplayArgs, ReplayArgs};
use super::order::give;
use super::{json, missed, print};
use crate::dead_letters::{Order, Replay, ReplayAnswer, ReplayOrder};
use crate::ground::output;

/// How often the progress is asked for.
const EVERY: Duration = Duration::from_millis(500);
/// How long a worker may take to begin, before it is said that there is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the end of a replay is waited for, and shown.
struct Waiting<'a> {
    place: &'a LetterSourceArgs,
    no_wait: bool,
    quiet: bool,
    json: bool,
}

/// Replays letters, or says what would happen.
pub(super) async fn replay(args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let order = ReplayOrder {
        selection: args.selection.selection()?,
        dry_run: args.dry_run,
        canary: args.canary,
        rate: args.rate,
        max_failures: args.max_failures,
    };
    let answer: ReplayAnswer = give(&args.place, Order::Replay { order }).await?;
    let ReplayArgs { place, no_wait, quiet, json, .. } = &args;
    let waiting = Waiting { place, no_wait: *no_wait, quiet: *quiet, json: *json };
    let code = match answer.replay.clone() {
        Some(replay) => waiting.for_end(replay).await?,
        None if args.json => {
            super::json(&answer)?;
            ExitCode::SUCCESS
        }
        None => {
            print::forecast(&answer.forecast, args.dry_run)?;
            ExitCode::SUCCESS
        }
    };
    Ok(if missed(&answer.not_found) == ExitCode::SUCCESS { code } else { ExitCode::FAILURE })
}

/// Lets a stopped replay go on.
pub(super) async fn resume(args: OneReplayArgs) -> anyhow::Result<ExitCode> {
    let resumed: Replay = give(&args.place, Order::Resume { id: args.id }).await?;
    let OneReplayArgs { place, no_wait, quiet, json, .. } = &args;
    Waiting { place, no_wait: *no_wait, quiet: *quiet, json: *json }.for_end(resumed).await
}

/// Stops a replay.
pub(super) async fn stop(args: OneReplayArgs) -> anyhow::Result<ExitCode> {
    let stopped: Replay = give(&args.place, Order::Stop { id: args.id }).await?;
    match args.json {
        true => json(&stopped)?,
        false => print::replays(&[stopped])?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Waiting<'_> {
    /// Waits until the replay has ended. Ctrl-C stops it, and it can be resumed.
    async fn for_end(&self, mut replay: Replay) -> anyhow::Result<ExitCode> {
        let id = replay.id;
        let began = Instant::now();
        let mut progress = Progress::new(self.quiet || self.json, "replayed");
        let mut begun = false;
        while !self.no_wait && !matches!(replay.state.as_str(), "done" | "stopped") {
            begun |= replay.carried_out;
            let settled = replay.total - replay.waiting - replay.sent;
            progress.show(settled, replay.total, &format!("{} failed again", replay.failed_again));
            if !begun && began.elapsed() > PATIENCE {
                progress.end();
                output::complain(format_args!(
                    "no worker is there: replay {id} waits until a `taskd work` carries it out"
                ));
                return self.shown(&replay, ExitCode::FAILURE);
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {
                    replay = give(self.place, Order::Progress { id }).await?;
                }
                _ = tokio::signal::ctrl_c() => {
                    progress.end();
                    let _: Replay = give(self.place, Order::Stop { id }).await?;
                    output::complain(format_args!("stopping; `taskd dlq resume {id}` lets it go on"));
                    return self.shown(&replay, ExitCode::FAILURE);
                }
            }
        }
        progress.end();
        let whole = self.no_wait || replay.state == "done" && replay.failed_again == 0;
        self.shown(&replay, if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn shown(&self, replay: &Replay, code: ExitCode) -> anyhow::Result<ExitCode> {
        match self.json {
            true => json(replay)?,
            false => print::replay(replay)?,
        }
        Ok(code)
    }
}
