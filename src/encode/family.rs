//! The architectures that are BERT but for names and embeddings, one row each: what `config.json` and the weights are
//! called, where positions begin, which side embeddings there are, and the head of a cross-encoder.
//! A row is checked against transformers by `tests/peers/architectures.py`.

use super::dense::Activation;

/// How tokens are numbered for the position embeddings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Places {
    /// From 0.
    FromZero,
    /// From the padding token's id + 1; a padding token in the text has that id as its place and is not counted.
    AfterPadding,
}

/// What the token-type embeddings tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segments {
    /// There are none.
    Absent,
    /// Nothing: all tokens have type 0, in pairs too.
    Constant,
    /// The two texts of a pair.
    Sides,
}

/// What attention adds to the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// Nothing.
    Absent,
    /// A learned number for each head and bucket of distances (T5's, arXiv 1910.10683), shared by all layers.
    Buckets,
}

/// What training drops of the attention block's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attended {
    /// Nothing.
    Kept,
    /// The hidden layers' share.
    Dropped,
}

/// What a cross-encoder has over the first token: a layer of the trunk's width, an activation, the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadNames {
    /// Name of the first linear layer.
    pub dense: &'static str,
    /// What comes after it.
    pub activation: Activation,
    /// Name of the linear layer that gives the labels.
    pub labels: &'static str,
    /// What transformers calls the whole (`architectures` in `config.json`).
    pub class: &'static str,
}

/// A family of BERT-like encoders.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Family {
    /// `model_type` in `config.json`.
    pub name: &'static str,
    /// What names of weights may begin with, the dot included.
    pub prefix: &'static str,
    /// Keys of `config.json`: BERT's, and this family's.
    pub keys: &'static [(&'static str, &'static str)],
    /// Keys as above that may be absent.
    pub optional_keys: &'static [(&'static str, &'static str)],
    /// Parts of the names of weights: BERT's, and this family's; replaced in this order.
    pub names: &'static [(&'static str, &'static str)],
    /// Where positions begin.
    pub places: Places,
    /// Which token-type embeddings there are.
    pub segments: Segments,
    /// What attention adds.
    pub bias: Bias,
    /// What training drops after attention.
    pub attended: Attended,
    /// Added to the variance in layer norms where `config.json` does not say.
    pub layer_norm_eps: f64,
    /// The head of a cross-encoder.
    pub head: HeadNames,
}

const CLASSIFIER: HeadNames = HeadNames {
    dense: "classifier.dense",
    activation: Activation::Tanh,
    labels: "classifier.out_proj",
    class: "RobertaForSequenceClassification",
};

/// BERT itself (Devlin et al. 2019, arXiv 1810.04805).
pub static BERT: Family = Family {
    name: "bert",
    prefix: "bert.",
    keys: &[],
    optional_keys: &[],
    names: &[],
    places: Places::FromZero,
    segments: Segments::Sides,
    bias: Bias::Absent,
    attended: Attended::Dropped,
    layer_norm_eps: 1e-12,
    head: HeadNames {
        dense: "pooler.dense",
        activation: Activation::Tanh,
        labels: "classifier",
        class: "BertForSequenceClassification",
    },
};

/// `RoBERTa` (Liu et al. 2019, arXiv 1907.11692).
static ROBERTA: Family = Family {
    name: "roberta",
    prefix: "roberta.",
    places: Places::AfterPadding,
    segments: Segments::Constant,
    layer_norm_eps: 1e-5,
    head: CLASSIFIER,
    ..BERT
};

/// XLM-R (Conneau et al. 2020, arXiv 1911.02116).
static XLM_ROBERTA: Family = Family {
    name: "xlm-roberta",
    head: HeadNames { class: "XLMRobertaForSequenceClassification", ..CLASSIFIER },
    ..ROBERTA
};

/// `DistilBERT` (Sanh et al. 2019, arXiv 1910.01108).
static DISTILBERT: Family = Family {
    name: "distilbert",
    prefix: "distilbert.",
    keys: &[
        ("hidden_size", "dim"),
        ("num_hidden_layers", "n_layers"),
        ("num_attention_heads", "n_heads"),
        ("intermediate_size", "hidden_dim"),
        ("hidden_act", "activation"),
    ],
    optional_keys: &[("hidden_dropout_prob", "dropout"), ("attention_probs_dropout_prob", "attention_dropout")],
    names: &[
        ("encoder.layer.", "transformer.layer."),
        ("attention.self.query", "attention.q_lin"),
        ("attention.self.key", "attention.k_lin"),
        ("attention.self.value", "attention.v_lin"),
        ("attention.output.dense", "attention.out_lin"),
        ("attention.output.LayerNorm", "sa_layer_norm"),
        ("intermediate.dense", "ffn.lin1"),
        ("output.dense", "ffn.lin2"),
        ("output.LayerNorm", "output_layer_norm"),
    ],
    segments: Segments::Absent,
    attended: Attended::Kept,
    head: HeadNames {
        dense: "pre_classifier",
        activation: Activation::Relu,
        labels: "classifier",
        class: "DistilBertForSequenceClassification",
    },
    ..BERT
};

/// `MPNet` (Song et al. 2020, arXiv 2004.09297).
static MPNET: Family = Family {
    name: "mpnet",
    prefix: "mpnet.",
    names: &[
        ("attention.self.query", "attention.attn.q"),
        ("attention.self.key", "attention.attn.k"),
        ("attention.self.value", "attention.attn.v"),
        ("attention.output.dense", "attention.attn.o"),
        ("attention.output.LayerNorm", "attention.LayerNorm"),
    ],
    places: Places::AfterPadding,
    segments: Segments::Absent,
    bias: Bias::Buckets,
    head: HeadNames { class: "MPNetForSequenceClassification", ..CLASSIFIER },
    ..BERT
};

/// All families.
pub static FAMILIES: [&Family; 5] = [&BERT, &DISTILBERT, &ROBERTA, &XLM_ROBERTA, &MPNET];

impl Family {
    /// This family's name of the configuration's key that BERT calls `name`.
    #[must_use]
    pub fn key<'k>(&self, name: &'k str) -> &'k str {
        self.keys.iter().chain(self.optional_keys).find(|(bert, _)| *bert == name).map_or(name, |(_, own)| own)
    }

    /// This family's name of the weight that BERT calls `name`.
    #[must_use]
    pub fn weight(&self, name: &str) -> String {
        self.names.iter().fold(name.to_owned(), |name, (bert, own)| name.replace(bert, own))
    }
}

/// Bucket of the distance from a token to another, of `buckets` in all: half for either direction, in each half the
/// small distances one by one and the larger in steps that grow, up to 128 (T5's, as transformers computes it).
#[must_use]
pub fn bucket(from: usize, to: usize, buckets: usize) -> u32 {
    const FARTHEST: f32 = 128.0;
    let half = buckets / 2;
    let exact = half / 2;
    let (side, distance) = (if to > from { half } else { 0 }, from.abs_diff(to));
    let place = if distance < exact {
        distance
    } else {
        #[expect(clippy::cast_precision_loss, reason = "distances and buckets are far below 2^24")]
        let steps = {
            let (distance, exact, half) = (distance as f32, exact as f32, half as f32);
            (distance / exact).ln() / (FARTHEST / exact).ln() * (half - exact)
        };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small and not negative")]
        (exact + steps as usize).min(half - 1)
    };
    u32::try_from(side + place).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        // MPNetEncoder.relative_position_bucket(torch.tensor([-200, -128, -91, -90, -64, -20, -8, -7, -1, 0, 1, 7, 8, 11, 12, 16, 300]))
        let distances = [-200i64, -128, -91, -90, -64, -20, -8, -7, -1, 0, 1, 7, 8, 11, 12, 16, 300];
        let expected = [15, 15, 15, 14, 14, 10, 8, 7, 1, 0, 17, 23, 24, 24, 25, 26, 31];
        for (distance, expected) in distances.into_iter().zip(expected) {
            let to = usize::try_from(1000 + distance).unwrap_or(0);
            assert_eq!(bucket(1000, to, 32), expected, "{distance}");
        }
    }
}
