//! What position-sensitive attention can be asked, and the answers.

use super::{HeadMaps, PositionSensitiveTrace};
use crate::attention::view::{
    Answer, Asked, Body, Fact, Heat, Mark, MarkKind, Overlay, Question, Turn, View,
};
use crate::attention::{asked_unit, heads};
use crate::numbers::value_label;

/// All questions. Those on one position have an answer only where its attention was kept.
pub(super) static ALL: [Question; 3] = [
    Question {
        id: "token_attention",
        title: "token attention",
        help: "Where the pressed position looks: a softmax over all positions, it sums to 1",
        turns: &[Turn::Unit, Turn::Head, Turn::Part],
    },
    Question {
        id: "received",
        title: "received",
        help: "How much each position is read, mean over all that read",
        turns: &[Turn::Unit, Turn::Head, Turn::Part],
    },
    Question {
        id: "heads",
        title: "head agreement",
        help: "What each head of the pressed position reads most, and how far it is from the mean \
               of all heads",
        turns: &[Turn::Unit, Turn::Part],
    },
];

/// What is asked, as far as it exists.
struct Wanted<'a> {
    trace: &'a PositionSensitiveTrace,
    /// The attention within the row.
    part: usize,
    maps: &'a HeadMaps,
    /// The pressed position.
    pressed: Option<usize>,
    /// The same, or the middle one.
    token: usize,
    head: Option<usize>,
}

pub(super) fn answer(
    trace: &PositionSensitiveTrace,
    question: &str,
    asked: &Asked,
) -> Option<Answer> {
    let there = asked.part.filter(|p| *p < trace.attentions.len());
    let part = there.unwrap_or(0);
    let maps = trace.attentions.get(part)?;
    let pressed = asked_unit(trace, asked);
    let wanted = Wanted {
        trace,
        part,
        maps,
        pressed,
        token: pressed.unwrap_or(trace.central_token()),
        head: asked.head.filter(|h| *h < maps.heads),
    };
    match question {
        "token_attention" => wanted.token_attention(),
        "received" => wanted.received(),
        "heads" => wanted.heads(),
        _ => None,
    }
}

impl Wanted<'_> {
    fn token_attention(&self) -> Option<Answer> {
        let heat = self.trace.token_map(self.part, self.token, self.head)?;
        let title = match self.pressed {
            Some(_) => format!("Where {} looks", self.place(self.token)),
            None => "Where the middle position looks".into(),
        };
        let caption = format!(
            "Attention of one position to all others, {}",
            self.head_name()
        );
        Some(self.map("token_attention", title, caption, heat, Some(self.token)))
    }

    fn received(&self) -> Option<Answer> {
        let heat = self.trace.received_map(self.part, self.head)?;
        let caption = format!(
            "Mean over all queries of the weight each position gets, {}",
            self.head_name()
        );
        let title = "Positions that everybody reads".into();
        Some(self.map("received", title, caption, heat, self.pressed))
    }

    fn heads(&self) -> Option<Answer> {
        let weights = self.maps.token_attention.get(&self.token)?;
        let rows: Vec<&[f32]> = (0..self.maps.heads).map(|h| weights.row(h)).collect();
        let (table, line) = heads::agreement(&rows, |t| (self.place(t), t))?;
        let title = format!("Heads of {}", self.place(self.token));
        let caption = "What each head reads most, and how far it is from the mean of all heads";
        Some(Answer {
            view: View::new("heads", title, caption, Body::Table(table)),
            beside: Vec::new(),
            chosen: format!("{}: {line}", self.place(self.token)),
        })
    }

    fn map(
        &self,
        name: &'static str,
        title: String,
        caption: String,
        heat: Heat,
        token: Option<usize>,
    ) -> Answer {
        let mark = token.map(|token| Mark {
            rect: self.trace.cell(token),
            label: String::new(),
            kind: MarkKind::Query,
        });
        let overlay = Overlay {
            heat: Some(heat),
            marks: mark.into_iter().collect(),
            ..Overlay::default()
        };
        Answer {
            view: View::new(name, title, caption, Body::Overlay(overlay)),
            beside: Vec::new(),
            chosen: self.chosen(),
        }
    }

    /// One line on the position and the attention.
    fn chosen(&self) -> String {
        let heads = if self.maps.heads == 1 {
            "head"
        } else {
            "heads"
        };
        let [h, w] = self.trace.map;
        let mut line = format!(
            "{} · {} {heads}, {} positions",
            self.place(self.token),
            self.maps.heads,
            h * w
        );
        let parts = self.trace.attentions.len();
        if parts > 1 {
            line += &format!(" · attention {} of {parts}", self.part + 1);
        }
        line
    }

    fn place(&self, token: usize) -> String {
        let width = self.trace.map[1].max(1);
        format!("position {}, {}", token % width, token / width)
    }

    fn head_name(&self) -> String {
        heads::name(self.head, self.maps.heads)
    }
}

/// What lies at the pressed cell.
pub(super) fn facts(trace: &PositionSensitiveTrace, asked: &Asked) -> Vec<Fact> {
    let mut facts = Vec::new();
    let Some(token) = asked_unit(trace, asked) else {
        return facts;
    };
    let mut fact = |name: &str, value: String| {
        facts.push(Fact {
            name: name.into(),
            value,
        });
    };
    let part = asked
        .part
        .filter(|p| *p < trace.attentions.len())
        .unwrap_or(0);
    let head = |all: usize| asked.head.filter(|h| *h < all);
    let Some(maps) = trace.attentions.get(part) else {
        return facts;
    };
    let width = trace.map[1].max(1);
    let place = |t: usize| format!("{}, {}", t % width, t / width);
    fact("position", place(token));
    if let Some(heat) = trace.received_map(part, head(maps.heads))
        && let Some(value) = heat.values.get(token)
    {
        let times = value * heat.values.len() as f32;
        let times = value_label(times, 3);
        fact(
            "received",
            format!("{}, {times} × the mean", value_label(*value, 3)),
        );
    }
    if let Some(heat) = trace.token_map(part, token, head(maps.heads))
        && let Some((most, weight)) = heads::largest(&heat.values)
    {
        let weight = value_label(weight, 3);
        fact(
            "reads most from",
            format!("position {}, {weight}", place(most)),
        );
    }
    facts
}
