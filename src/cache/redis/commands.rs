//! What is sent to Redis, and how generations are written.

use std::io::Write;

use deadpool_redis::redis::{Pipeline, RedisWrite, ToRedisArgs};

use crate::cache::new_generation;

/// How long a generation is kept, in seconds. Without one a reader begins a new one, so this only bounds
/// memory.
const GENERATION_TTL_SECONDS: u64 = 24 * 3600;

/// An entry as it is kept, written where it is sent from.
pub(super) struct Filled<'a> {
    pub(super) generation: &'a str,
    pub(super) value: &'a [u8],
}

impl ToRedisArgs for Filled<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let mut argument = out.writer_for_next_arg();
        // The writer is a buffer in memory.
        let _ = argument
            .write_all(self.generation.as_bytes())
            .and_then(|()| argument.write_all(self.value));
    }
}

/// Adds the command that begins a generation; it may get further arguments.
pub(super) fn set_generation<'a>(
    pipeline: &'a mut Pipeline,
    key: &str,
    generation: &str,
) -> &'a mut Pipeline {
    let set = pipeline.cmd("SET").arg(key).arg(generation);
    set.arg("EX").arg(GENERATION_TTL_SECONDS).ignore()
}

/// Adds the commands after which there is another generation of the same stretch, or one of a new stretch if
/// there was none. In one piece and with its time renewed first, since it must not be dropped in between.
pub(super) fn change_generation(pipeline: &mut Pipeline, key: &str) {
    pipeline.atomic().cmd("EXPIRE").arg(key).arg(GENERATION_TTL_SECONDS).ignore();
    set_generation(pipeline, key, &new_stretch()).arg("NX");
    pipeline.cmd("SETRANGE").arg(key).arg(DIGITS).arg(new_generation()).ignore();
}

/// How many digits name a stretch, and how many a generation within it.
pub(super) const DIGITS: usize = 16;

/// The first generation of a stretch.
pub(super) fn new_stretch() -> String {
    new_generation() + &new_generation()
}

/// The stretch of a generation of the lists.
pub(super) fn stretch(generation: &str) -> &str {
    generation.get(..DIGITS).unwrap_or_default()
}
