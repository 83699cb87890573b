//! The commands that mend what is wrong. Each can be pasted into a shell as it is, but for what
//! stands in capitals in a URL.

/// A text as one word of a shell.
pub fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:@,+=".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// How to start the server that a variable names, where it is the one of `compose.yaml`.
pub(in crate::operate) fn restart(variable: &str) -> String {
    let service = match variable {
        "RABBITMQ_URL" => "rabbitmq",
        "REDIS_URL" => "redis",
        "SMTP_URL" => "mailpit",
        _ => "postgres",
    };
    format!(
        "docker compose up -d {service}  # or start the server that {variable} names, or name another"
    )
}

/// The command that gives a variable another value.
pub fn rename(variable: &str, example: &str) -> String {
    format!("export {variable}='{example}'")
}

/// A duration in words, without fractions of a second.
pub(in crate::operate) fn words(seconds: f64) -> String {
    let whole = std::time::Duration::from_secs(seconds.max(0.0) as u64);
    humantime::format_duration(whole).to_string()
}

/// `1 event` or `2 events`.
pub(in crate::operate) fn count(count: impl TryInto<i64>, what: &str) -> String {
    let count = count.try_into().unwrap_or(i64::MAX);
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_quoted_text_as_it_is() {
        assert_eq!(quoted("task_events.retry.1s"), "task_events.retry.1s");
        assert_eq!(quoted("/"), "/");
        for (text, word) in [("", "''"), ("a b", "'a b'"), ("it's $x", "'it'\\''s $x'")] {
            assert_eq!(quoted(text), word);
        }
    }
}
