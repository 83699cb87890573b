//! Bars on the server: one sorted set for each keyspace. A member is the name of a bar, which ends
//! with its scopes; its score is the time at which the bar ends, by the server's clock.
//!
//! Redis may evict the set, and with it bars that have not ended. So a set that is made anew gets a
//! bar on every scope: it ends no earlier than the bars that may have been lost.

use deadpool_redis::redis::{Script, ScriptInvocation};

use super::commands::KEPT_SECONDS;
use crate::cache::{BAR, Scope, new_generation};

/// Sets a bar and new generations in one step. `KEYS`: the set, then the generations. `ARGV`: how
/// long a bar lasts in microseconds, how long keys are kept in seconds, then the name of the bar
/// and the generations. Without a name it only makes the set, if there is none.
const SET: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local ends = string.format('%.0f', now + ARGV[1])
if redis.call('ZADD', KEYS[1], 'NX', '+inf', 'made') == 1 then
    redis.call('ZADD', KEYS[1], ends, 'lost *')
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
redis.call('EXPIRE', KEYS[1], ARGV[2])
if ARGV[3] then redis.call('ZADD', KEYS[1], ends, ARGV[3]) end
for i = 2, #KEYS do redis.call('SET', KEYS[i], ARGV[i + 2], 'EX', ARGV[2]) end
";

/// The script that sets bars.
#[derive(Clone)]
pub(super) struct SetBar(Script);

impl Default for SetBar {
    fn default() -> SetBar {
        SetBar(Script::new(SET))
    }
}

impl SetBar {
    /// Makes the set if there is none.
    pub(super) fn make(&self, set: &str) -> ScriptInvocation<'_> {
        let mut invocation = self.0.prepare_invoke();
        invocation.key(set).arg(BAR.as_micros() as u64).arg(KEPT_SECONDS);
        invocation
    }

    /// Sets a bar of this name, and a new generation under each key.
    pub(super) fn set(
        &self,
        set: &str,
        name: &str,
        generations: &[String],
    ) -> ScriptInvocation<'_> {
        let mut invocation = self.make(set);
        invocation.arg(name);
        for key in generations {
            invocation.key(key).arg(new_generation());
        }
        invocation
    }
}

/// A name for a bar on these scopes.
pub(super) fn name(scopes: &[Scope]) -> String {
    scopes.iter().fold(new_generation(), |name, scope| format!("{name} {scope}"))
}

/// The bars of a keyspace, as a reader finds them.
pub(super) struct ActiveBars {
    /// Each name, and when the bar ends.
    pub(super) bars: Vec<(String, f64)>,
    /// The server's time, in seconds and microseconds. It is asked for after the bars.
    pub(super) time: (u64, u64),
}

impl ActiveBars {
    /// Whether the set was not there.
    pub(super) fn lost(&self) -> bool {
        self.bars.is_empty()
    }

    /// Whether readers may fill entries of this scope.
    pub(super) fn leave_free(&self, scope: Scope) -> bool {
        let (scope, now) = (scope.to_string(), self.time.0 * 1_000_000 + self.time.1);
        let on_it = |name: &str| name.split(' ').skip(1).any(|one| one == scope || one == "*");
        !self.lost() && !self.bars.iter().any(|(name, ends)| *ends > now as f64 && on_it(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_on_its_scopes_alone_and_until_it_ends() {
        let on = |name: &str, ends: f64| ActiveBars {
            bars: vec![("made".into(), f64::INFINITY), (name.into(), ends)],
            time: (1, 5),
        };
        let free = |found: &ActiveBars| {
            [Scope::TaskLists, Scope::Task(1), Scope::Task(12)].map(|s| found.leave_free(s))
        };
        let name = name(&[Scope::TaskLists, Scope::Task(1)]);
        assert_eq!(free(&on(&name, 1_000_006.0)), [false, false, true]);
        assert_eq!(free(&on(&name, 1_000_005.0)), [true, true, true]);
        assert_eq!(free(&on("lost *", 1_000_006.0)), [false, false, false]);
        assert_eq!(free(&ActiveBars { bars: Vec::new(), time: (1, 5) }), [false, false, false]);
    }
}
