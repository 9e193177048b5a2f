//! The table and the JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::contender::Contender;
use crate::host::Host;
use crate::statistics::{Ratio, median, quantile, ratio};

/// One measure's figures.
pub struct Figures {
    /// Short name, as for `--only`.
    pub name: &'static str,
    /// What was measured.
    pub title: String,
    /// Of the values.
    pub unit: &'static str,
    /// One row a contender.
    pub rows: Vec<Row>,
}

/// One contender's figures.
pub struct Row {
    /// Whose they are.
    pub contender: String,
    /// One a round.
    pub samples: Vec<Option<f64>>,
    /// Why there are none, or what should be known about them.
    pub note: Option<String>,
}

impl Row {
    fn values(&self) -> Vec<f64> {
        self.samples.iter().flatten().copied().collect()
    }
}

impl Figures {
    /// How `subject` compares with the contender of `row`.
    fn compare(&self, subject: &str, row: &Row) -> Option<Ratio> {
        let own = self.rows.iter().find(|row| row.contender == subject)?;
        if own.contender == row.contender {
            None
        } else {
            ratio(&own.samples, &row.samples)
        }
    }

    /// As lines of text.
    pub fn table(&self, subject: &str) -> String {
        let rounds = self.rows.iter().map(|row| row.values().len()).max().unwrap_or(0);
        let mut text = String::new();
        let title = format!("{} [{}], {rounds} rounds", self.title, self.unit);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\n{title}\n  {:<14}{:>10}{:>10}{:>21}{:>18}{:>13}",
            "",
            "median",
            "min",
            "p10 .. p90",
            format!("{subject}/it"),
            "(medians)"
        );
        for row in &self.rows {
            let values = row.values();
            let _ = write!(text, "  {:<14}", row.contender);
            if let (Some(middle), Some(least), Some(low), Some(high)) = (
                median(&values),
                quantile(&values, 0.0),
                quantile(&values, 0.1),
                quantile(&values, 0.9),
            ) {
                let spread = format!("{} .. {}", figure(low), figure(high));
                let _ = write!(text, "{:>10}{:>10}{spread:>21}", figure(middle), figure(least));
                if let Some(ratio) = self.compare(subject, row) {
                    let _ = write!(text, "{:>18.3}{:>13.3}", ratio.of_rounds, ratio.of_medians);
                }
            }
            let _ = writeln!(
                text,
                "{}",
                row.note
                    .as_ref()
                    .map(|note| format!("  {note}"))
                    .unwrap_or_default()
            );
        }
        text
    }

    fn json(&self, subject: &str) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let values = row.values();
                let ratio = self.compare(subject, row);
                json!({
                    "contender": row.contender,
                    "median": median(&values),
                    "min": quantile(&values, 0.0),
                    "p10": quantile(&values, 0.1),
                    "p90": quantile(&values, 0.9),
                    "max": quantile(&values, 1.0),
                    "subject_ratio": {
                        "median_of_ratios": ratio.map(|ratio| ratio.of_rounds),
                        "ratio_of_medians": ratio.map(|ratio| ratio.of_medians),
                    },
                    "samples": row.samples,
                    "note": row.note,
                })
            })
            .collect();
        json!({ "measure": self.name, "title": self.title, "unit": self.unit, "rows": rows })
    }
}

/// Three digits that matter.
fn figure(value: f64) -> String {
    let digits = if value == 0.0 {
        0
    } else {
        (2 - value.abs().log10().floor() as i32).clamp(0, 3)
    };
    format!("{value:.*}", digits as usize)
}

/// Everything as one JSON value.
pub fn json(host: &Host, load: f64, contenders: &[Contender], subject: &str, figures: &[Figures]) -> Value {
    json!({
        "host": {
            "kernel": host.kernel,
            "cpus": host.cpus,
            "cgroups": host.mode,
            "load_before": load,
        },
        "contenders": contenders
            .iter()
            .map(|contender| json!({ "name": contender.name, "path": contender.path }))
            .collect::<Vec<_>>(),
        "subject": subject,
        "measures": figures.iter().map(|figures| figures.json(subject)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!(figure(0.0), "0");
        assert_eq!(figure(1.23456), "1.23");
        assert_eq!(figure(12.3456), "12.3");
        assert_eq!(figure(1234.5), "1234");
        assert_eq!(figure(0.0123), "0.012");
    }

    #[test]
    fn the_subject_is_compared_with_the_others_only() {
        let row = |name: &str, value| Row {
            contender: name.into(),
            samples: vec![Some(value)],
            note: None,
        };
        let figures = Figures {
            name: "x",
            title: "X".into(),
            unit: "ms",
            rows: vec![row("a", 1.0), row("b", 2.0)],
        };
        let table = figures.table("a");
        let line = |name| {
            table
                .lines()
                .find(|line| line.trim().starts_with(name))
                .unwrap_or_default()
        };
        assert!(line("b").ends_with("0.500"), "{table}");
        assert!(!line("a ").contains("0.500"), "{table}");
    }
}
