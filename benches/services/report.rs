//! The medians of all rounds, as a table and as JSON.

use serde_json::json;

use crate::picture;

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Target {
    /// At least this part of its limit.
    OfLimit(f64),
    AtLeast(f64),
    AtMost(f64),
    /// It is there to be known.
    None,
}

/// One figure of one round.
pub struct Reading {
    pub what: String,
    pub value: f64,
    pub limit: Option<f64>,
    pub target: Target,
}

impl Reading {
    pub fn new(what: impl Into<String>, value: f64, target: Target) -> Reading {
        Reading { what: what.into(), value, limit: None, target }
    }

    pub fn beside(mut self, limit: f64) -> Reading {
        self.limit = Some(limit);
        self
    }
}

/// One figure of all rounds.
pub struct Row {
    pub name: String,
    pub what: String,
    pub target: Target,
    values: Vec<f64>,
    limits: Vec<f64>,
    /// Of each round, so that a round in which the machine was slow is slow in both.
    ratios: Vec<f64>,
}

pub struct Report {
    rounds: usize,
    rows: Vec<Row>,
}

impl Report {
    pub fn new(rounds: usize) -> Report {
        Report { rounds, rows: Vec::new() }
    }

    pub fn add(&mut self, name: &str, reading: Reading) {
        let Reading { what, value, limit, target } = reading;
        let known = self.rows.iter().position(|row| row.name == name && row.what == what);
        let index = known.unwrap_or_else(|| {
            let (values, limits, ratios) = Default::default();
            self.rows.push(Row { name: name.to_owned(), what, target, values, limits, ratios });
            self.rows.len() - 1
        });
        let row = &mut self.rows[index];
        row.values.push(value);
        if let Some(limit) = limit {
            row.limits.push(limit);
            row.ratios.push(value / limit);
        }
    }

    pub fn print(&self) {
        let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
        println!("rounds: {}, cores: {cores}", self.rounds);
        println!(
            "{:<16} {:<44} {:>10} {:>10} {:>6}  target",
            "measurement", "figure", "median", "limit", "ratio"
        );
        for row in &self.rows {
            let or_dash = |values: &[f64]| median(values).map_or("-".to_owned(), figure);
            let ratio = median(&row.ratios).map_or("-".to_owned(), |r| format!("{r:.2}"));
            println!(
                "{:<16} {:<44} {:>10} {:>10} {ratio:>6}  {}",
                row.name,
                row.what,
                or_dash(&row.values),
                or_dash(&row.limits),
                row.judged()
            );
        }
    }

    pub fn svg(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, |n| n.get());
        let title = format!("taskd, medians of {} rounds, {cores} cores", self.rounds);
        picture::svg(&title, &self.rows)
    }

    pub fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| {
            json!({
                "measurement": row.name, "figure": row.what, "median": median(&row.values),
                "limit": median(&row.limits), "ratio": median(&row.ratios),
                "target": row.target.text(), "met": row.met(), "rounds": row.values,
            })
        });
        let rows: Vec<serde_json::Value> = rows.collect();
        let text = serde_json::to_string_pretty(&json!({ "rounds": self.rounds, "rows": rows }));
        text.unwrap() + "\n"
    }
}

impl Row {
    /// What was measured, of what the target is about.
    pub fn told(&self) -> String {
        let of_limit = matches!(self.target, Target::OfLimit(_));
        let told = median(if of_limit { &self.ratios } else { &self.values });
        told.map_or("-".to_owned(), figure)
    }

    /// How many times the target was reached: 1 where it was just met.
    pub fn reached(&self) -> Option<f64> {
        let value = median(&self.values)?;
        match self.target {
            Target::OfLimit(least) => Some(median(&self.ratios)? / least),
            Target::AtLeast(least) => Some(value / least),
            // What took no time at all reached it as often as can be shown.
            Target::AtMost(most) => Some(most / value.max(f64::MIN_POSITIVE)),
            Target::None => None,
        }
    }

    fn met(&self) -> Option<bool> {
        self.reached().map(|reached| reached >= 1.0)
    }

    fn judged(&self) -> String {
        match self.met() {
            Some(true) => format!("{} met", self.target.text()),
            Some(false) => format!("{} MISSED", self.target.text()),
            None => "-".to_owned(),
        }
    }
}

impl Target {
    pub fn text(self) -> String {
        match self {
            Target::OfLimit(ratio) => format!(">= {ratio} of limit"),
            Target::AtLeast(least) => format!(">= {least}"),
            Target::AtMost(most) => format!("<= {most}"),
            Target::None => String::new(),
        }
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[middle]),
        _ => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
    }
}

fn figure(value: f64) -> String {
    if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
