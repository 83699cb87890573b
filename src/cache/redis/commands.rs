//! The commands sent to Redis, and the format of generations.

use std::io::Write;

use deadpool_redis::redis::{Pipeline, RedisWrite, ToRedisArgs};

use crate::cache::new_generation;

/// How long a generation is kept, in seconds. A reader that finds none begins a new one, so this
/// only bounds memory.
const GENERATION_TTL_SECONDS: u64 = 24 * 3600;

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
    set.arg("EX").arg(GENERATION_TTL_SECONDS).ignore()
}

/// Adds the commands that change the generation within its stretch, or begin a stretch if there is
/// no generation. They are one transaction, and renew the time to live first, so that Redis can't
/// drop the generation in between.
pub(super) fn change_generation(pipeline: &mut Pipeline, key: &str) {
    pipeline.atomic().cmd("EXPIRE").arg(key).arg(GENERATION_TTL_SECONDS).ignore();
    set_generation(pipeline, key, &new_stretch()).arg("NX");
    pipeline.cmd("SETRANGE").arg(key).arg(DIGITS).arg(new_generation()).ignore();
}

/// How many digits name a stretch, and how many name a generation within it.
pub(super) const DIGITS: usize = 16;

/// The first generation of a new stretch.
pub(super) fn new_stretch() -> String {
    new_generation() + &new_generation()
}

/// The stretch that a generation of the lists belongs to.
pub(super) fn stretch(generation: &str) -> &str {
    generation.get(..DIGITS).unwrap_or_default()
}
