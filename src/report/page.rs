//! The outcome as one HTML file that needs nothing beside it: no script, no network.

use super::{ArmOutcome, Outcome};
use std::fmt::Write;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #667079; --line: #d8dde2; --paper: #fff; --good: #1a7f4b; --bad: #b3362b; --dot: #2f5fb3; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ad; --line: #3a4148; --paper: #16191d; --good: #55c28b; --bad: #ef7d72; --dot: #82aaf0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2.5rem 1.5rem 4rem; font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
h1 { font-size: 1.7rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
p.lead { color: var(--soft); margin: 0 0 1.6rem; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .45rem .7rem .45rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 500; font-size: .88rem; }
td.number { text-align: right; } th.number { text-align: right; }
.up { color: var(--good); } .down { color: var(--bad); } .soft { color: var(--soft); font-size: .88rem; }
svg { width: 100%; height: auto; display: block; } svg text { font: 13px system-ui, sans-serif; fill: var(--ink); } svg text.soft { fill: var(--soft); }
details { border-bottom: 1px solid var(--line); padding: .5rem 0; } summary { cursor: pointer; }
blockquote { margin: .5rem 0 .5rem .2rem; padding-left: .9rem; border-left: 3px solid var(--line); }
pre { overflow-x: auto; font-size: .82rem; border: 1px solid var(--line); padding: .8rem; border-radius: 6px; }
";

/// The page.
#[must_use]
pub fn page(outcome: &Outcome) -> String {
    let mut html = String::new();
    let name = escape(&outcome.name);
    let _ = write!(
        html,
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{name}: which negatives helped</title><style>{STYLE}</style>\n\
         <h1>Which negatives trained the better encoder?</h1><p class=\"lead\">{name} · {} · {} test queries · {} instances of {} negatives in every arm · {}</p>\n",
        escape(&outcome.collection),
        outcome.test_queries,
        outcome.instances,
        outcome.negatives,
        seeds(outcome),
    );
    scores(&mut html, outcome);
    if let Some(metric) = outcome.metrics.first() {
        let _ = write!(html, "<h2>{} by arm and seed</h2>\n{}", escape(metric), dots(outcome, metric));
    }
    if outcome.arms.iter().any(|arm| arm.losses.len() > 1) {
        let _ = write!(html, "<h2>Training loss, first seed</h2>\n{}", curves(outcome));
    }
    if !outcome.remarks.is_empty() || !outcome.left_out.is_empty() {
        html.push_str("<h2>On the way</h2>\n<ul>");
        for left in &outcome.left_out {
            let _ = write!(html, "<li>Arm <b>{}</b> was left out: {}</li>", escape(&left.name), escape(&left.reason));
        }
        for remark in &outcome.remarks {
            let _ = write!(html, "<li>{}</li>", escape(remark));
        }
        html.push_str("</ul>\n");
    }
    filters(&mut html, outcome);
    examples(&mut html, outcome);
    let provenance = serde_json::to_string_pretty(&outcome.provenance).unwrap_or_default();
    let _ = write!(
        html,
        "<h2>Provenance</h2>\n<details><summary>Inputs, settings and program</summary><pre>{}</pre></details>\n</html>\n",
        escape(&provenance)
    );
    html
}

fn seeds(outcome: &Outcome) -> String {
    let list: Vec<String> = outcome.seeds.iter().map(u64::to_string).collect();
    format!("{} {}", if list.len() == 1 { "seed" } else { "seeds" }, list.join(", "))
}

fn scores(html: &mut String, outcome: &Outcome) {
    html.push_str("<table><tr><th>Arm<th>Negatives per query");
    for metric in &outcome.metrics {
        let _ = write!(html, "<th class=\"number\">{}<th class=\"number\">against un-tuned", escape(metric));
    }
    html.push_str("<th>Note</tr>\n<tr><td>un-tuned<td class=\"soft\">-");
    for metric in &outcome.metrics {
        let _ =
            write!(html, "<td class=\"number\">{:.4}<td>", outcome.untuned.get(metric).copied().unwrap_or_default());
    }
    html.push_str("<td></tr>\n");
    for arm in &outcome.arms {
        let _ = write!(html, "<tr><td>{}<td class=\"soft\">{}", escape(&arm.name), escape(&arm.negatives));
        for metric in &outcome.metrics {
            let Some(summary) = arm.scores.get(metric) else {
                html.push_str("<td><td>");
                continue;
            };
            let spread = if summary.values.len() > 1 {
                format!(" <span class=\"soft\">± {:.4}</span>", summary.deviation)
            } else {
                String::new()
            };
            let class = if summary.difference >= 0.0 { "up" } else { "down" };
            let _ = write!(
                html,
                "<td class=\"number\">{:.4}{spread}<td class=\"number {class}\">{:+.4}",
                summary.mean, summary.difference
            );
        }
        let _ = writeln!(html, "<td class=\"soft\">{}</tr>", escape(&arm.note));
    }
    html.push_str("</table>\n<p class=\"soft\">± is the standard deviation over seeds. A difference smaller than it says nothing.</p>\n");
}

/// What each arm's filters dropped, by source and rule.
fn filters(html: &mut String, outcome: &Outcome) {
    if outcome.arms.iter().all(|arm| arm.filtered.is_empty()) {
        return;
    }
    html.push_str("<h2>What filters dropped</h2>\n<table><tr><th>Arm<th>Source<th>Rule<th class=\"number\">Seen<th class=\"number\">Dropped<th class=\"number\">Share</tr>\n");
    for arm in &outcome.arms {
        for (source, waterfall) in &arm.filtered {
            let (name, source) = (escape(&arm.name), escape(source));
            for (rule, seen, dropped, share) in waterfall.steps() {
                let _ = writeln!(
                    html,
                    "<tr><td>{name}<td>{source}<td>{rule}<td class=\"number\">{seen}<td class=\"number\">{dropped}<td class=\"number\">{share:.2} %</tr>"
                );
            }
            let kept = waterfall.kept;
            let _ = writeln!(html, "<tr><td>{name}<td>{source}<td>kept<td class=\"number\">{kept}<td><td></tr>");
        }
    }
    html.push_str("</table>\n");
}

/// One line an arm, one dot a seed, a bar at the mean, and a rule where the un-tuned encoder stands.
fn dots(outcome: &Outcome, metric: &str) -> String {
    let untuned = outcome.untuned.get(metric).copied().unwrap_or_default();
    let values = || outcome.arms.iter().filter_map(|arm| arm.scores.get(metric)).flat_map(|s| s.values.iter().copied());
    let low = values().fold(untuned, f64::min);
    let high = values().fold(untuned, f64::max);
    let margin = ((high - low) * 0.08).max(0.002);
    let (left, right, step) = (150.0, 30.0, 34.0);
    let x = |value: f64| left + (value - low + margin) / (high - low + 2.0 * margin) * (900.0 - left - right);
    #[expect(clippy::cast_precision_loss, reason = "a handful of arms")]
    let y = |row: usize| 46.0 + step * row as f64;
    let bottom = y(outcome.arms.len());
    let mut svg = format!("<svg viewBox=\"0 0 900 {}\" role=\"img\">", bottom + 6.0);
    let at = x(untuned);
    let _ = write!(
        svg,
        "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"26\" y2=\"{:.1}\" stroke=\"var(--soft)\" stroke-dasharray=\"4 4\"/><text class=\"soft\" x=\"{at:.1}\" y=\"16\" text-anchor=\"middle\">un-tuned {untuned:.4}</text>",
        bottom - 12.0
    );
    for (row, arm) in outcome.arms.iter().enumerate() {
        let Some(summary) = arm.scores.get(metric) else { continue };
        let (y, mean) = (y(row), x(summary.mean));
        let _ = write!(
            svg,
            "<text x=\"0\" y=\"{:.1}\">{}</text><line x1=\"{left}\" x2=\"{}\" y1=\"{y}\" y2=\"{y}\" stroke=\"var(--line)\"/>",
            y + 4.0,
            escape(&arm.name),
            900.0 - right
        );
        for value in &summary.values {
            let _ = write!(
                svg,
                "<circle cx=\"{:.1}\" cy=\"{y}\" r=\"5\" fill=\"var(--dot)\" fill-opacity=\".65\"><title>{value:.4}</title></circle>",
                x(*value)
            );
        }
        let _ = write!(
            svg,
            "<line x1=\"{mean:.1}\" x2=\"{mean:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"var(--ink)\" stroke-width=\"2\"/>",
            y - 9.0,
            y + 9.0
        );
    }
    svg + "</svg>\n"
}

/// The loss of each arm over the steps, smoothed over a twentieth of them.
#[expect(clippy::cast_precision_loss, reason = "coordinates")]
fn curves(outcome: &Outcome) -> String {
    let arms: Vec<(&ArmOutcome, Vec<f32>)> =
        outcome.arms.iter().filter(|arm| arm.losses.len() > 1).map(|arm| (arm, smooth(&arm.losses))).collect();
    let highest = arms.iter().flat_map(|(_, line)| line).copied().fold(f32::MIN_POSITIVE, f32::max);
    let mut svg = String::from("<svg viewBox=\"0 0 900 260\" role=\"img\">");
    let _ = write!(
        svg,
        "<line x1=\"40\" x2=\"760\" y1=\"230\" y2=\"230\" stroke=\"var(--line)\"/><text class=\"soft\" x=\"0\" y=\"20\">{highest:.2}</text><text class=\"soft\" x=\"0\" y=\"234\">0</text>"
    );
    for (index, (arm, line)) in arms.iter().enumerate() {
        let hue = index * 360 / arms.len();
        let points: Vec<String> = line
            .iter()
            .enumerate()
            .map(|(step, loss)| {
                format!(
                    "{:.1},{:.1}",
                    40.0 + 720.0 * step as f32 / (line.len() - 1) as f32,
                    230.0 - 214.0 * loss / highest
                )
            })
            .collect();
        let _ = write!(
            svg,
            "<polyline fill=\"none\" stroke=\"hsl({hue} 60% 50%)\" stroke-width=\"2\" points=\"{}\"/><rect x=\"775\" y=\"{}\" width=\"12\" height=\"12\" fill=\"hsl({hue} 60% 50%)\"/><text x=\"793\" y=\"{}\">{}</text>",
            points.join(" "),
            16 + index * 24,
            27 + index * 24,
            escape(&arm.name)
        );
    }
    svg + "</svg>\n"
}

fn smooth(losses: &[f32]) -> Vec<f32> {
    let window = (losses.len() / 20).max(1);
    #[expect(clippy::cast_precision_loss, reason = "a small window")]
    losses.windows(window).map(|w| w.iter().sum::<f32>() / w.len() as f32).collect()
}

fn examples(html: &mut String, outcome: &Outcome) {
    if outcome.examples.is_empty() {
        return;
    }
    html.push_str("<h2>What the sources offer</h2>\n");
    for example in &outcome.examples {
        let _ = write!(
            html,
            "<details open><summary><b>{}</b></summary><p class=\"soft\">positive</p><blockquote>{}</blockquote>",
            escape(&example.query),
            escape(&example.positive)
        );
        for (source, text) in &example.negatives {
            let _ = write!(html, "<p class=\"soft\">{}</p><blockquote>{}</blockquote>", escape(source), escape(text));
        }
        html.push_str("</details>\n");
    }
}

/// Text inside HTML.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passage_cannot_become_markup() {
        assert_eq!(escape("<script>&\"x\""), "&lt;script&gt;&amp;&quot;x&quot;");
    }

    #[test]
    fn smoothing_keeps_a_short_curve() {
        assert_eq!(smooth(&[3.0, 2.0, 1.0]), [3.0, 2.0, 1.0]);
    }
}
