//! Forms of the retrieval field: a table of texts, a BEIR folder, TREC qrels. In the last two negatives are judged 0.

use super::trainers::distinct;
use super::{Export, Fact, Result, read_lines, spaced, text, write_lines};
use crate::data::{Error, Qrels, atomic};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

pub(super) fn write_tsv(export: &Export<'_>, folder: &Path) -> Result<()> {
    let path = folder.join("train.tsv");
    atomic::write_file(&path, |out| {
        for instance in export.instances {
            for negative in &instance.negatives {
                let [query, positive, negative] =
                    [&instance.query, &instance.positive.text, &negative.text].map(|text| spaced(text));
                writeln!(out, "{query}\t{positive}\t{negative}").map_err(Error::io("write", &path))?;
            }
        }
        Ok(())
    })
}

pub(super) fn read_tsv(folder: &Path) -> Result<Vec<Fact>> {
    let path = folder.join("train.tsv");
    let all = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
    let facts = |line: &str| {
        let mut columns = line.split('\t').map(str::to_owned);
        let mut next = || columns.next().unwrap_or_default();
        let (query, positive, negative) = (next(), next(), next());
        [(query.clone(), positive, 1), (query, negative, 0)]
    };
    Ok(all.split_terminator('\n').flat_map(facts).collect())
}

/// Query, passage and grade by id, each pair once; a passage that is a positive anywhere is one.
fn grades(export: &Export<'_>) -> BTreeMap<(String, String), u8> {
    let mut grades = BTreeMap::new();
    for instance in export.instances {
        let pair = |id: String| (instance.query_id.to_string(), id);
        for negative in &instance.negatives {
            grades.entry(pair(negative.passage.to_string())).or_insert(0);
        }
        grades.insert(pair(instance.positive.passage.to_string()), 1);
    }
    grades
}

pub(super) fn write_beir(export: &Export<'_>, folder: &Path) -> Result<()> {
    let document = |(id, one)| {
        let (title, text) = export.document(one)?;
        Ok(json!({"_id": id, "title": title, "text": text, "metadata": {}}))
    };
    write_lines(&folder.join("corpus.jsonl"), distinct(export).into_iter().map(document))?;
    let queries: BTreeSet<_> = export.instances.iter().map(|one| (&one.query_id, &one.query)).collect();
    let query = |(id, query)| Ok(json!({"_id": id, "text": query, "metadata": {}}));
    write_lines(&folder.join("queries.jsonl"), queries.into_iter().map(query))?;
    let path = folder.join("qrels/train.tsv");
    atomic::write_file(&path, |out| {
        let failed = |error| Error::io("write", &path)(error);
        writeln!(out, "query-id\tcorpus-id\tscore").map_err(failed)?;
        for ((query, passage), grade) in grades(export) {
            writeln!(out, "{query}\t{passage}\t{grade}").map_err(failed)?;
        }
        Ok(())
    })
}

pub(super) fn read_beir(folder: &Path) -> Result<Vec<Fact>> {
    let corpus = read_lines(&folder.join("corpus.jsonl"))?;
    let content = |line: &_| format!("{} {}", text(line, "title"), text(line, "text")).trim().to_owned();
    let corpus: HashMap<String, String> = corpus.iter().map(|line| (text(line, "_id"), content(line))).collect();
    let queries = read_lines(&folder.join("queries.jsonl"))?;
    let queries: HashMap<String, String> = queries.iter().map(|line| (text(line, "_id"), text(line, "text"))).collect();
    let known = |texts: &HashMap<String, String>, id: &str| texts.get(id).cloned().unwrap_or_default();
    let facts = judged(&Qrels::read_beir(&folder.join("qrels/train.tsv"))?);
    Ok(facts
        .into_iter()
        .map(|(query, passage, label)| (known(&queries, &query), known(&corpus, &passage), label))
        .collect())
}

pub(super) fn write_trec(export: &Export<'_>, folder: &Path) -> Result<()> {
    let path = folder.join("train.qrels");
    atomic::write_file(&path, |out| {
        for ((query, passage), grade) in grades(export) {
            writeln!(out, "{query} 0 {passage} {grade}").map_err(Error::io("write", &path))?;
        }
        Ok(())
    })
}

pub(super) fn read_trec(folder: &Path) -> Result<Vec<Fact>> {
    Ok(judged(&Qrels::read_trec(&folder.join("train.qrels"))?))
}

fn judged(qrels: &Qrels) -> Vec<Fact> {
    let of_query = |(query, grades): (&crate::data::QueryId, &BTreeMap<crate::data::DocId, i32>)| {
        let fact = |(passage, grade): (&crate::data::DocId, &i32)| {
            (query.to_string(), passage.to_string(), u8::from(*grade > 0))
        };
        grades.iter().map(fact).collect::<Vec<_>>()
    };
    qrels.iter().flat_map(of_query).collect()
}
