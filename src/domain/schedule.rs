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
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "{text:?} has {} fields, not the five minute, hour, day of month, month, day of week",
                fields.len()
            ));
        };
        let parsed = |minute: &str, hour: &str, day: &str, month: &str, weekdays: &str| {
            cron::Schedule::from_str(&format!("0 {minute} {hour} {day} {month} {weekdays}"))
        };
        // The library doesn't say which field is wrong, so each is tried alone.
        for (name, field, alone, range) in [
            ("minute", minute, parsed(minute, "*", "*", "*", "*"), "from 0 to 59"),
            ("hour", hour, parsed("*", hour, "*", "*", "*"), "from 0 to 23"),
            ("day of month", day, parsed("*", "*", day, "*", "*"), "from 1 to 31"),
            ("month", month, parsed("*", "*", "*", month, "*"), "from 1 to 12, or JAN to DEC"),
        ] {
            if alone.is_err() {
                return Err(wrong_field(text, name, field, range));
            }
        }
        let weekdays = weekdays(weekday).ok_or_else(|| {
            wrong_field(text, "day of week", weekday, "from 0 to 7, or SUN to SAT")
        })?;
        let parse = |day: &str, weekdays: &str| {
            let parsed = parsed(minute, hour, day, month, weekdays);
            parsed.map_err(|_| format!("{text:?} is not a cron expression such as 0 3 * * *"))
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

/// What a field of the expression must be, in one line.
fn wrong_field(text: &str, name: &str, field: &str, range: &str) -> String {
    format!(
        "in {text:?} the {name} is {field:?}: it must be {range}, or a list, a range or a step of these \
         (1,2 or 1-5 or */2)"
    )
}

/// The day-of-week field as a list of names, since the library counts from Sunday = 1.
fn weekdays(field: &str) -> Option<String> {
    let number = |name: &str| -> Option<usize> {
        let by_name = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        by_name.or_else(|| name.parse().ok().filter(|n| *n <= 7))
    };
    let mut days = [false; 7];
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|s| *s > 0)?),
            None => (part, 1),
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (0, 6),
            Some((first, last)) => (number(first)?, number(last)?),
            None if part.contains('/') => (number(range)?, 6),
            None => (number(range)?, number(range)?),
        };
        if first > last {
            return None;
        }
        (first..=last).step_by(step).for_each(|day| days[day % 7] = true);
    }
    if days == [true; 7] {
        return Some("*".into());
    }
    let names: Vec<&str> =
        DAYS.iter().zip(days).filter(|(_, on)| *on).map(|(name, _)| *name).collect();
    Some(names.join(","))
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
        for (text, says) in [
            ("60 * * * *", "the minute is \"60\": it must be from 0 to 59"),
            ("0 25 * * *", "the hour is \"25\": it must be from 0 to 23"),
            ("0 3 0 * *", "the day of month is \"0\": it must be from 1 to 31"),
            ("0 3 * MAI *", "the month is \"MAI\": it must be from 1 to 12"),
            ("0 3 * * 8", "the day of week is \"8\": it must be from 0 to 7"),
        ] {
            let error = text.parse::<Schedule>().unwrap_err();
            assert!(error.contains(says) && !error.contains('\n'), "{error}");
        }
    }
}
