//! Whether exact search or a graph costs less, by the work of each in comparisons of two vectors.
//! Exact search makes one for each query and passage, in products of blocks; a graph makes few, but each fetches a vector
//! from anywhere, and it has to be made first. The rates are rough, of one kind of
//! machine, and not measured on this one: they say which of the two is many times cheaper, not which is a little.

/// Comparisons of blocks in the time that a graph takes to search, with its default settings.
const SEARCH: u64 = 40_000;
/// Comparisons of blocks in the time that a graph takes to add a passage.
const ADD: u64 = 75_000;

/// Which of the two is cheaper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cheaper {
    /// True for the graph.
    pub graph: bool,
    /// Why, for people.
    pub reason: String,
}

/// What is cheaper for `queries` over `passages`; `there` says that the graph has been made already.
#[must_use]
pub fn cheaper((passages, queries): (usize, usize), there: bool) -> Cheaper {
    let (n, q) = (passages as u64, queries as u64);
    let exact = n.saturating_mul(q);
    let graph = q.saturating_mul(SEARCH).saturating_add(if there { 0 } else { n.saturating_mul(ADD) });
    let (less, more) =
        if graph < exact { ("a graph", exact / graph.max(1)) } else { ("exact search", graph / exact.max(1)) };
    let made = if there { "which is there" } else { "which would have to be made" };
    let times = if more >= 2 { format!("about {more} times less") } else { "a little less".to_owned() };
    let reason =
        format!("for {queries} queries over {passages} passages {less} costs {times} (the graph, {made}, counted)");
    Cheaper { graph: graph < exact, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graph_is_made_only_for_many_queries_and_used_for_many_passages() {
        let graph = |passages, queries, there| cheaper((passages, queries), there).graph;
        assert!(!graph(5_000, 300, false) && !graph(5_000, 300, true));
        assert!(!graph(1_000_000, 10_000, false) && graph(1_000_000, 10_000, true));
        assert!(graph(1_000_000, 1_000_000, false));
        assert!(!graph(0, 0, false));
        assert!(cheaper((1_000_000, 10,), true).reason.contains("a graph costs about 25 times less"));
    }
}
