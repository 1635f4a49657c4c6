//! What polarized self-attention can be asked, and the answers.

use super::{Form, PolarizedTrace};
use crate::attention::heads;
use crate::attention::view::{
    Answer, Asked, Body, Fact, Gallery, Heat, Mark, MarkKind, Overlay, Question, Table, View,
};
use crate::numbers::value_label;

/// All questions. Nothing but a channel and a position can be chosen for them.
pub(super) static ALL: [Question; 6] = [
    Question {
        id: "spatial_weight",
        title: "spatial weight",
        help: "How strongly each position is kept, between 0 and 1",
        turns: &[],
    },
    Question {
        id: "channel_query",
        title: "where the channel branch looks",
        help: "Softmax over all positions: it sums to 1, so single values are small",
        turns: &[],
    },
    Question {
        id: "channel_weight",
        title: "channel weight",
        help: "How strongly each channel is kept, between 0 and 1",
        turns: &[],
    },
    Question {
        id: "spatial_query",
        title: "spatial query",
        help: "Which of the inner channels the spatial branch asks: a softmax, it sums to 1",
        turns: &[],
    },
    Question {
        id: "factor",
        title: "composition",
        help: "The factor that both weights together make on the pressed channel, or on the one \
               with the largest weight",
        turns: &[],
    },
    Question {
        id: "channels",
        title: "channel maps",
        help: "Feature maps, before they are scaled, of the channels with the largest weights and \
               of those with the smallest",
        turns: &[],
    },
];

/// So many channels from each end of the ranking.
const EACH_END: usize = 6;

/// The lowest and the highest of some weights.
fn ends(weights: &[f32]) -> [f32; 2] {
    let low = weights.iter().copied().fold(f32::INFINITY, f32::min);
    let high = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    [low, high]
}

/// Rank of a value among all, 1 for the largest; equal values keep their order.
fn rank(values: &[f32], index: usize) -> Option<usize> {
    let value = *values.get(index)?;
    let before = |(i, v): &(usize, &f32)| **v > value || (**v == value && *i < index);
    Some(values.iter().enumerate().filter(before).count() + 1)
}

/// What is asked, as far as it exists.
struct Wanted<'a> {
    trace: &'a PolarizedTrace,
    /// The pressed cell.
    cell: Option<[usize; 2]>,
    /// The pressed channel.
    channel: Option<usize>,
}

impl<'a> Wanted<'a> {
    fn new(trace: &'a PolarizedTrace, asked: &Asked) -> Self {
        let [h, w] = trace.map;
        let channels = trace.channel_weight.data().len();
        Self {
            trace,
            cell: asked.cell.filter(|c| c[0] < h && c[1] < w),
            channel: asked.channel.filter(|c| *c < channels),
        }
    }
}

pub(super) fn answer(trace: &PolarizedTrace, question: &str, asked: &Asked) -> Option<Answer> {
    let wanted = Wanted::new(trace, asked);
    match question {
        "spatial_weight" => Some(wanted.spatial_weight()),
        "channel_query" => Some(wanted.channel_query()),
        "channel_weight" => Some(wanted.bars(wanted.channel_weight())),
        "spatial_query" => Some(wanted.bars(wanted.spatial_query())),
        "factor" => wanted.factor(),
        "channels" => wanted.channels(),
        _ => None,
    }
}

impl Wanted<'_> {
    fn spatial_weight(&self) -> Answer {
        let view = View::new(
            "spatial_weight",
            "Spatial weight",
            "How strongly each position is kept",
            self.overlay(self.trace.spatial_map()),
        );
        Answer {
            view,
            beside: vec![self.channel_weight()],
            chosen: self.chosen(),
        }
    }

    fn channel_query(&self) -> Answer {
        let query = self.trace.channel_query.data();
        let caption = format!(
            "Softmax over positions; sums to 1. As spread as {} of {} positions",
            value_label(heads::spread(query), 3),
            query.len()
        );
        let view = View::new(
            "channel_query",
            "Where the channel branch looks",
            caption,
            self.overlay(self.trace.query_map()),
        );
        Answer {
            view,
            beside: vec![self.spatial_query()],
            chosen: self.chosen(),
        }
    }

    fn channel_weight(&self) -> View {
        View::new(
            "channel_weight",
            "Channel weights",
            "How strongly each channel is kept",
            Body::Bars(self.trace.channel_bars()),
        )
    }

    fn spatial_query(&self) -> View {
        let query = self.trace.spatial_query.data();
        let caption = match self.trace.query_is_softmax {
            true => format!(
                "Softmax over channels; sums to 1. As spread as {} of {} channels",
                value_label(heads::spread(query), 3),
                query.len()
            ),
            false => "Mean of the query over all positions; this form has no softmax here".into(),
        };
        View::new(
            "spatial_query",
            "Channels that the spatial branch asks",
            caption,
            Body::Bars(self.trace.query_bars()),
        )
    }

    fn bars(&self, view: View) -> Answer {
        Answer {
            view,
            beside: Vec::new(),
            chosen: self.chosen(),
        }
    }

    fn factor(&self) -> Option<Answer> {
        let trace = self.trace;
        let weights = trace.channel_weight.data();
        let channel = self.channel.or(heads::largest(weights).map(|c| c.0))?;
        let heat = trace.factor_map(channel)?;
        let how = match trace.form {
            Form::Parallel => "Spatial weight + channel weight, side by side",
            Form::Sequential => "Spatial weight × channel weight, one after the other",
        };
        let view = View::new(
            "factor",
            format!("Factor on channel {channel}"),
            format!("{how}; {}", self.composition()),
            self.overlay(heat),
        );
        Some(Answer {
            view,
            beside: vec![self.ranges(channel)],
            chosen: format!("{} · {}", self.about(channel), self.composition()),
        })
    }

    /// Lowest and highest of both weights and of the factor.
    fn ranges(&self, channel: usize) -> View {
        let trace = self.trace;
        let spatial = ends(trace.spatial_weight.data());
        let channels = ends(trace.channel_weight.data());
        let own = trace.channel_weight.data().get(channel).copied();
        let own = own.map_or([f32::NAN; 2], |c| spatial.map(|s| trace.form.factor(s, c)));
        let all = [0, 1].map(|i| trace.form.factor(spatial[i], channels[i]));
        let row = |name: String, range: [f32; 2]| {
            let [low, high] = range.map(|v| value_label(v, 4));
            vec![name, low, high]
        };
        let table = Table {
            columns: ["", "lowest", "highest"].map(String::from).to_vec(),
            rows: vec![
                row("spatial weight".into(), spatial),
                row("channel weight".into(), channels),
                row(format!("factor, channel {channel}"), own),
                row("factor, any".into(), all),
            ],
            ..Table::default()
        };
        let caption = "Lowest and highest of the weights and of what they make together";
        View::new("ranges", "ranges", caption, Body::Table(table))
    }

    fn channels(&self) -> Option<Answer> {
        let bars = self.trace.channel_bars();
        let order = bars.sorted();
        let each = EACH_END.min(order.len() / 2);
        let (most, least) = (order.get(..each)?, order.get(order.len() - each..)?);
        let channels: Vec<usize> = most.iter().chain(least).copied().collect();
        let map = |&c: &usize| {
            let weight = value_label(*bars.values.get(c)?, 3);
            Some((format!("{c}: {weight}"), self.trace.input_map(c)?))
        };
        let maps = channels.iter().map(map).collect::<Option<Vec<_>>>()?;
        let view = View::new(
            "channels",
            "Most and least weighted channels",
            format!(
                "Feature maps before the weights, by channel and weight: the {each} channels with \
                 the largest weights, then the {each} with the smallest"
            ),
            Body::Gallery(Gallery { maps, channels }),
        );
        Some(Answer {
            view,
            beside: vec![self.channel_weight()],
            chosen: self.chosen(),
        })
    }

    fn overlay(&self, heat: Heat) -> Body {
        let mark = self.cell.map(|[y, x]| {
            let [y, x] = [y, x].map(|v| v as f32);
            Mark {
                rect: [x, y, x + 1.0, y + 1.0],
                label: String::new(),
                kind: MarkKind::Query,
            }
        });
        Body::Overlay(Overlay {
            heat: Some(heat),
            marks: mark.into_iter().collect(),
            ..Overlay::default()
        })
    }

    /// One line: the pressed channel, and how the weights are put together.
    fn chosen(&self) -> String {
        match self.channel {
            Some(channel) => format!("{} · {}", self.about(channel), self.composition()),
            None => self.composition(),
        }
    }

    /// A channel with its weight and rank.
    fn about(&self, channel: usize) -> String {
        let weights = self.trace.channel_weight.data();
        match (weights.get(channel), rank(weights, channel)) {
            (Some(weight), Some(rank)) => format!(
                "channel {channel} weighs {}, rank {rank} of {}",
                value_label(*weight, 4),
                weights.len()
            ),
            _ => String::new(),
        }
    }

    /// How the two weights are put together, and the range of the factor that comes out.
    fn composition(&self) -> String {
        let spatial = ends(self.trace.spatial_weight.data());
        let channel = ends(self.trace.channel_weight.data());
        let (form, how, most) = match self.trace.form {
            Form::Parallel => ("parallel", "spatial + channel weight", 2),
            Form::Sequential => ("sequential", "spatial × channel weight", 1),
        };
        let [low, high] = [0, 1].map(|i| self.trace.form.factor(spatial[i], channel[i]));
        format!(
            "{form}: factor {} to {} of 0 to {most} ({how})",
            value_label(low, 3),
            value_label(high, 3)
        )
    }
}

/// What lies at the pressed cell, and the pressed channel.
pub(super) fn facts(trace: &PolarizedTrace, asked: &Asked) -> Vec<Fact> {
    let wanted = Wanted::new(trace, asked);
    let mut facts = Vec::new();
    let mut fact = |name: &str, value: String| {
        facts.push(Fact {
            name: name.into(),
            value,
        });
    };
    if let Some([y, x]) = wanted.cell {
        let place = y * trace.map[1] + x;
        let ranked = |values: &[f32]| {
            let value = value_label(*values.get(place)?, 4);
            let rank = rank(values, place)?;
            Some(format!("{value}, rank {rank} of {}", values.len()))
        };
        fact(
            "spatial weight",
            ranked(trace.spatial_weight.data()).unwrap_or_default(),
        );
        fact(
            "channel query",
            ranked(trace.channel_query.data()).unwrap_or_default(),
        );
    }
    if let Some(channel) = wanted.channel {
        fact("channel", wanted.about(channel));
        if let Some([y, x]) = wanted.cell
            && let Some(heat) = trace.factor_map(channel)
            && let Some(factor) = heat.values.get(y * trace.map[1] + x)
        {
            fact("factor", value_label(*factor, 4));
        }
    }
    facts
}
