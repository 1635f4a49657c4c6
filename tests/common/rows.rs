//! A network run row by row, with everything that it put out.

use std::collections::BTreeMap;
use std::sync::Arc;

use attnscope::attention::{Knobs, Trace, Watch};
use attnscope::yolo::{Head, Map, Network, Output, RawHead};
use candle_core::Tensor;

/// What a network put out.
pub struct Run {
    /// `[1, C, H, W]` of every row but the last.
    pub maps: Vec<Tensor>,
    /// Traces of the attention rows.
    pub traces: BTreeMap<usize, Arc<dyn Trace>>,
    /// Input of the attention rows.
    pub inputs: BTreeMap<usize, Tensor>,
    /// Both heads; equal where the model has only one.
    pub one_to_many: Arc<RawHead>,
    pub one_to_one: Arc<RawHead>,
}

/// Runs every row on `[1, 3, H, W]`; `knobs` gives the knobs of an attention row for its map.
pub fn run(
    network: &Network,
    input: &Tensor,
    watch: &Watch,
    knobs: impl Fn(usize, [usize; 2]) -> Knobs,
) -> Run {
    let (layers, mut maps) = (network.layers(), Vec::<Map>::new());
    let (mut traces, mut inputs) = (BTreeMap::new(), BTreeMap::new());
    let none = Knobs::new();
    for (row, layer) in layers.iter().enumerate() {
        let sources: Vec<Map> = layer
            .from
            .iter()
            .map(|f| f.map_or_else(|| input.clone().into(), |i| maps[i].clone()))
            .collect();
        if row + 1 == layers.len() {
            let head = |head| match layer.run(&sources, &none, watch, head).unwrap() {
                (Output::Raw(raw), _) => raw,
                _ => panic!("the last row gives no boxes"),
            };
            return Run {
                maps: maps.iter().map(|map| map.tensor().unwrap()).collect(),
                traces,
                inputs,
                one_to_many: head(Head::OneToMany),
                one_to_one: head(Head::OneToOne),
            };
        }
        let knobs = if network.attention_at(row).is_some() {
            let source = sources[0].tensor().unwrap();
            let (_, _, h, w) = source.dims4().unwrap();
            let (_, _, ih, iw) = input.dims4().unwrap();
            assert_eq!(network.map_size(row, [ih, iw]), [h, w], "map of row {row}");
            inputs.insert(row, source);
            knobs(row, [h, w])
        } else {
            Knobs::new()
        };
        let (output, trace) = layer.run(&sources, &knobs, watch, Head::OneToMany).unwrap();
        traces.extend(trace.map(|t| (row, t)));
        match output {
            Output::Map(map) => maps.push(map),
            Output::Raw(_) => panic!("row {row} is a head before the end"),
        }
    }
    panic!("a network without rows")
}
