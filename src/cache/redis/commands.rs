//! The commands sent to Redis, and the format of entries.

use std::io::Write;

use deadpool_redis::redis::{Pipeline, RedisWrite, ToRedisArgs};

/// How long generations and bars are kept, in seconds. What a reader doesn't find it makes anew, so
/// this only bounds memory.
pub(super) const KEPT_SECONDS: u64 = 24 * 3600;

/// The value of an entry: its generation, then the body. It is written straight into the command,
/// without a copy.
pub(super) struct Filled<'a> {
    pub(super) generation: &'a str,
    pub(super) value: &'a [u8],
}

impl ToRedisArgs for Filled<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        // This can't fail: the writer is a buffer in memory.
        let _ = argument
            .write_all(self.generation.as_bytes())
            .and_then(|()| argument.write_all(self.value));
    }
}

/// Adds the command that sets a generation. The caller may add arguments.
pub(super) fn set_generation<'a>(
    pipeline: &'a mut Pipeline,
    key: &str,
    generation: &str,
) -> &'a mut Pipeline {
    let set = pipeline.cmd("SET").arg(key).arg(generation);
    set.arg("EX").arg(KEPT_SECONDS).ignore()
}
