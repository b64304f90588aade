//! Runs and their scores as tables to read, to paste into Markdown or into a paper: means with marks of what is
//! significantly better than what, and every comparison in full.

use crate::eval::{Comparison, Evaluation, Metric};

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Columns for a terminal.
    Text,
    /// A Markdown table.
    Markdown,
    /// A LaTeX `tabular` with `booktabs` rules.
    Latex,
}

/// Scored runs, and how they differ.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'s> {
    /// What each run is called.
    pub names: &'s [String],
    /// Its scores.
    pub evaluations: &'s [Evaluation],
    /// The columns.
    pub metrics: &'s [Metric],
    /// Pairs of runs by metric.
    pub comparisons: &'s [Comparison],
    /// A corrected p-value below this is marked, 0 to 1.
    pub alpha: f64,
}

/// What stands in a cell; `best` is set in bold, `marks` are raised.
#[derive(Debug, Default)]
struct Cell {
    text: String,
    marks: String,
    best: bool,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Scores<'_> {
    /// One row a run, one column a metric. With several runs the best is bold, and a run bears the letters of those
    /// it is better than by the corrected randomisation test.
    #[must_use]
    pub fn means(&self, style: Style) -> String {
        let alone = self.names.len() == 1;
        let letter = (!alone).then(|| Cell::from(String::new()));
        let head = letter.into_iter().chain([Cell::from("run".to_owned())]);
        let mut rows = vec![head.chain(self.metrics.iter().map(|m| m.to_string().into())).collect::<Vec<_>>()];
        for (place, (name, evaluation)) in self.names.iter().zip(self.evaluations).enumerate() {
            let letter = (!alone).then(|| Cell::from(self.letter(place)));
            let value = |metric: &Metric| Cell {
                text: format!("{:.4}", evaluation.mean[metric]),
                marks: self.marks(place, *metric),
                best: !alone
                    && self.evaluations.iter().all(|other| merit(other, *metric) <= merit(evaluation, *metric)),
            };
            let front = letter.into_iter().chain([Cell::from(name.clone())]);
            rows.push(front.chain(self.metrics.iter().map(value)).collect());
        }
        render(&rows, style)
    }

    /// One row a comparison, metric by metric.
    #[must_use]
    pub fn comparisons(&self, style: Style) -> String {
        let interval = format!("{}% interval", percent(1.0 - self.alpha));
        let head = ["metric", "runs", "difference", &interval, "p", "Holm", "p (t)", "Holm", "w/t/l", "d_z"];
        let mut rows = vec![head.map(|text| Cell::from(text.to_owned())).into()];
        for comparison in self.comparisons {
            let Comparison { difference, interval: [low, high], randomisation, student, .. } = comparison;
            let row = [
                comparison.metric.to_string(),
                format!("{} - {}", self.letter(comparison.run), self.letter(comparison.baseline)),
                format!("{difference:+.4}"),
                format!("{low:+.4} to {high:+.4}"),
                p_value(randomisation.p),
                p_value(randomisation.holm),
                p_value(student.p),
                p_value(student.holm),
                format!("{}/{}/{}", comparison.wins, comparison.ties, comparison.losses),
                comparison.effect.map_or("-".to_owned(), |effect| format!("{effect:+.3}")),
            ];
            rows.push(row.map(Cell::from).into());
        }
        render(&rows, style)
    }

    /// Letters of the runs that `place` is significantly better than.
    fn marks(&self, place: usize, metric: Metric) -> String {
        let beaten = self.comparisons.iter().filter(|c| c.metric == metric && c.randomisation.holm < self.alpha);
        let beaten = beaten.filter_map(|c| match metric.merit(c.difference) {
            merit if merit > 0.0 && c.run == place => Some(c.baseline),
            merit if merit < 0.0 && c.baseline == place => Some(c.run),
            _ => None,
        });
        let mut places: Vec<usize> = beaten.collect();
        places.sort_unstable();
        let between = if self.names.len() > 26 { "," } else { "" };
        places.into_iter().map(|place| self.letter(place)).collect::<Vec<_>>().join(between)
    }

    /// a, b, c ...; numbers from 1 where letters do not suffice.
    fn letter(&self, place: usize) -> String {
        match ('a'..='z').nth(place) {
            Some(letter) if self.names.len() <= 26 => letter.to_string(),
            _ => (place + 1).to_string(),
        }
    }
}

fn merit(evaluation: &Evaluation, metric: Metric) -> f64 {
    metric.merit(evaluation.mean[&metric])
}

/// 0.95 as "95", 0.999 as "99.9".
fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn p_value(p: f64) -> String {
    if p < 0.0001 { "<0.0001".to_owned() } else { format!("{p:.4}") }
}

fn render(rows: &[Vec<Cell>], style: Style) -> String {
    let words = |cell: &Cell| match style {
        Style::Text if cell.marks.is_empty() => cell.text.clone(),
        Style::Text => format!("{}^{}", cell.text, cell.marks),
        Style::Markdown => {
            let text = cell.text.replace('|', "\\|").replace('_', "\\_");
            let text = if cell.best { format!("**{text}**") } else { text };
            if cell.marks.is_empty() { text } else { format!("{text}<sup>{}</sup>", cell.marks) }
        }
        Style::Latex => {
            let text = escaped(&cell.text);
            let text = if cell.best { format!("\\textbf{{{text}}}") } else { text };
            if cell.marks.is_empty() { text } else { format!("{text}$^{{{}}}$", cell.marks) }
        }
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(words).collect()).collect();
    match style {
        Style::Text => columns(&rows),
        Style::Markdown => super::table::align(&rows),
        Style::Latex => tabular(&rows),
    }
}

/// Columns two blanks apart, without blanks at the end of a line.
fn columns(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn tabular(rows: &[Vec<String>]) -> String {
    let line = |row: &Vec<String>| format!("{} \\\\\n", row.join(" & "));
    let (head, body) = rows.split_at(rows.len().min(1));
    format!(
        "\\begin{{tabular}}{{{}}}\n\\toprule\n{}\\midrule\n{}\\bottomrule\n\\end{{tabular}}\n",
        "l".repeat(head.first().map_or(0, Vec::len)),
        head.iter().map(line).collect::<String>(),
        body.iter().map(line).collect::<String>()
    )
}

/// `text` as LaTeX prints it.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => escaped.extend(['\\', letter]),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' | '>' | '-' | '+' => escaped.extend(['$', letter, '$']),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DocId, Qrels, QueryId, Run};
    use crate::eval::significance::Settings;
    use crate::eval::{Dialect, Rules, compare, evaluate};

    /// Twelve queries; one run has every answer first, one second, one not at all.
    fn scores_of(style: Style) -> Result<[String; 2], Box<dyn std::error::Error>> {
        let metrics: [Metric; 3] = ["mrr".parse()?, "r_precision".parse()?, "hole".parse()?];
        let (mut qrels, mut runs) = (Qrels::default(), vec![Run::default(); 3]);
        for index in 0..12 {
            let query = QueryId::new(&format!("q{index}"))?;
            qrels.insert(query.clone(), DocId::new("yes")?, 1);
            for (run, docs) in runs.iter_mut().zip([["yes", "no"], ["no", "yes"], ["no", "none"]]) {
                let hit = |(doc, score)| {
                    Ok::<_, crate::data::ids::InvalidId>(crate::data::Hit { doc: DocId::new(doc)?, score })
                };
                run.insert(query.clone(), docs.into_iter().zip([2.0, 1.0]).map(hit).collect::<Result<_, _>>()?);
            }
        }
        let rules = Rules::new(Dialect::default());
        let evaluations: Vec<_> = runs.iter().map(|run| evaluate(&run.lists(), &qrels, &metrics, &rules)).collect();
        let comparisons = compare(&evaluations, &[(0, 1), (1, 2)], &metrics, &Settings::default());
        let names = ["first", "second_one", "none"].map(str::to_owned);
        let scores = Scores {
            names: &names,
            evaluations: &evaluations,
            metrics: &metrics,
            comparisons: &comparisons,
            alpha: 0.05,
        };
        Ok([scores.means(style), scores.comparisons(style)])
    }

    #[test]
    fn a_terminal_sees_columns() -> Result<(), Box<dyn std::error::Error>> {
        let [means, comparisons] = scores_of(Style::Text)?;
        let expected = "   run         mrr       r_precision  hole
a  first       1.0000^b  1.0000^b     0.5000
b  second_one  0.5000^c  0.0000       0.5000^c
c  none        0.0000    0.0000       1.0000
";
        assert_eq!(means, expected);
        // Both tests of 12 equal differences: 2 of 4096 patterns, doubled by Holm.
        let first = "mrr          b - a  -0.5000     -0.5000 to -0.5000  0.0005  0.0010  <0.0001  <0.0001  0/0/12  -";
        assert_eq!(comparisons.lines().nth(1), Some(first), "{comparisons}");
        Ok(())
    }

    #[test]
    fn markdown_and_latex_are_escaped_and_marked() -> Result<(), Box<dyn std::error::Error>> {
        let [means, _] = scores_of(Style::Markdown)?;
        assert_eq!(
            means.lines().nth(2),
            Some("| a | first       | **1.0000**<sup>b</sup> | **1.0000**<sup>b</sup> | **0.5000**             |"),
            "{means}"
        );
        assert!(means.contains("| b | second\\_one |"), "{means}");
        let [means, comparisons] = scores_of(Style::Latex)?;
        assert_eq!(
            means.lines().nth(4),
            Some("a & first & \\textbf{1.0000}$^{b}$ & \\textbf{1.0000}$^{b}$ & \\textbf{0.5000} \\\\"),
            "{means}"
        );
        assert!(
            means.contains("second\\_one")
                && comparisons.contains("95\\% interval")
                && comparisons.contains("$<$0.0001")
        );
        assert!(comparisons.starts_with("\\begin{tabular}{llllllllll}\n\\toprule\n"), "{comparisons}");
        Ok(())
    }
}
