//! The outcome as a text table: un-tuned first, then every arm with mean, spread and difference.

use super::Outcome;

/// The table, with a last line break; columns are aligned for a terminal and valid Markdown.
#[must_use]
pub fn table(outcome: &Outcome) -> String {
    let mut head = vec!["arm".to_owned(), "negatives per query".to_owned()];
    for metric in &outcome.metrics {
        head.extend([metric.clone(), "spread".to_owned(), "difference".to_owned()]);
    }
    head.push("note".to_owned());
    let mut rows = vec![head];
    let mut untuned = vec!["un-tuned".to_owned(), "-".to_owned()];
    for metric in &outcome.metrics {
        untuned.extend([number(outcome.untuned.get(metric).copied()), "-".to_owned(), "-".to_owned()]);
    }
    untuned.push(String::new());
    rows.push(untuned);
    for arm in &outcome.arms {
        let mut row = vec![arm.name.clone(), arm.negatives.clone()];
        for metric in &outcome.metrics {
            let summary = arm.scores.get(metric);
            row.push(number(summary.map(|s| s.mean)));
            row.push(summary.filter(|s| s.values.len() > 1).map_or("-".to_owned(), |s| format!("±{:.4}", s.deviation)));
            row.push(summary.map_or("-".to_owned(), |s| format!("{:+.4}", s.difference)));
        }
        row.push(arm.note.clone());
        rows.push(row);
    }
    let mut text = align(&rows);
    for left in &outcome.left_out {
        text.push_str(&format!("\nleft out: {} ({})\n", left.name, left.reason));
    }
    text.push_str(&format!(
        "\n{}: {} test queries; {} instances of {} negatives in every arm; seeds {}; spread is the standard deviation over seeds\n",
        outcome.collection,
        outcome.test_queries,
        outcome.instances,
        outcome.negatives,
        outcome.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", "),
    ));
    text
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}

/// Rows as a Markdown table whose columns are aligned; the first row is the head.
#[must_use]
pub fn align(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
        if index == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            text.push_str(&format!("| {} |\n", rules.join(" | ")));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["arm".to_owned(), "x".to_owned()], vec!["bm25".to_owned(), "±0.1".to_owned()]];
        assert_eq!(align(&rows), "| arm  | x    |\n| ---- | ---- |\n| bm25 | ±0.1 |\n");
    }
}
