//! Cron expressions in the usual five-field form, in UTC.

use std::str::FromStr;

use chrono::{DateTime, Utc};

/// A recurring schedule.
#[derive(Debug, Clone)]
pub struct Schedule {
    text: String,
    /// A moment that matches any of these is due.
    any: Vec<cron::Schedule>,
}

impl Schedule {
    /// The first due moment after `now`; `None` if there is none, as for a 30th of February.
    pub fn next_after(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.any.iter().filter_map(|schedule| schedule.after(&now).next()).min()
    }
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl FromStr for Schedule {
    type Err = String;

    /// Reads `minute hour day-of-month month day-of-week`. As in crontab(5), Sunday is 0 or 7, and
    /// if both day fields are restricted, a day that matches either is due.
    fn from_str(text: &str) -> Result<Schedule, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "{text:?} has {} fields, not the five minute, hour, day of month, month, day of week",
                fields.len()
            ));
        };
        let weekdays = weekdays(weekday)?;
        let parse = |day: &str, weekdays: &str| {
            cron::Schedule::from_str(&format!("0 {minute} {hour} {day} {month} {weekdays}"))
                .map_err(|e| format!("{text:?} is not a cron expression: {e}"))
        };
        let either = !day.starts_with('*') && !weekday.starts_with('*');
        let any = if either {
            vec![parse(day, "*")?, parse("*", &weekdays)?]
        } else {
            vec![parse(day, &weekdays)?]
        };
        Ok(Schedule { text: text.to_owned(), any })
    }
}

/// The day-of-week field as a list of names, since the library counts from Sunday = 1.
fn weekdays(field: &str) -> Result<String, String> {
    let wrong = || format!("{field:?} is not a day of the week such as 0, MON, 1-5 or */2");
    let number = |name: &str| -> Result<usize, String> {
        let by_name = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        by_name.or_else(|| name.parse().ok().filter(|n| *n <= 7)).ok_or_else(wrong)
    };
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|s| *s > 0).ok_or_else(wrong)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((first, last)) => (number(first)?, number(last)?),
            None if part.contains('/') => (number(range)?, 6),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return Err(wrong());
        }
        (first..=last).step_by(step).for_each(|day| days[day % 7] = true);
    }
    if days == [true; 7] {
        return Ok("*".into());
    }
    let names: Vec<&str> =
        DAYS.iter().zip(days).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    Ok(names.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(text: &str, now: &str) -> String {
        let schedule: Schedule = text.parse().unwrap();
        schedule.next_after(now.parse().unwrap()).unwrap().to_rfc3339()
    }

    #[test]
    fn the_five_fields_mean_what_they_mean_in_crontab() {
        // 2026-11-24 is a Tuesday.
        let now = "2026-11-24T04:24:13Z";
        for (text, due) in [
            ("0 3 * * *", "2026-11-25T03:00:00+00:00"),
            ("*/15 * * * *", "2026-11-24T04:30:00+00:00"),
            ("0 0 * * 0", "2026-11-29T00:00:00+00:00"),
            ("0 0 * * 7", "2026-11-29T00:00:00+00:00"),
            ("0 0 * * 1-5", "2026-11-25T00:00:00+00:00"),
            ("0 0 * * 5-7", "2026-11-27T00:00:00+00:00"),
            ("0 0 * * fri", "2026-11-27T00:00:00+00:00"),
            ("0 0 * * */3", "2026-11-25T00:00:00+00:00"),
            ("0 0 1 * *", "2026-12-01T00:00:00+00:00"),
            ("0 0 1 * 3", "2026-11-25T00:00:00+00:00"),
            ("30 4 24 11 *", "2026-11-24T04:30:00+00:00"),
        ] {
            assert_eq!(next(text, now), due, "{text}");
        }
    }

    #[test]
    fn what_is_no_cron_expression_is_refused() {
        for text in [
            "",
            "* * * *",
            "0 0 3 * * *",
            "60 * * * *",
            "* * * * 8",
            "* * * * 5-1",
            "a * * * *",
            "* * * * */0",
        ] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
