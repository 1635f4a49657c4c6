//! What bi-level routing attention can be asked, and the answers.

use super::RoutingTrace;
use super::facts::readers;
use crate::attention::view::{
    Answer, Asked, Body, Curves, Heat, Link, Mark, Matrix, Overlay, Question, Table, Turn, View,
    grid_lines,
};
use crate::attention::{Trace, asked_unit, heads};
use crate::numbers::value_label;

/// All questions. Those on tokens have an answer only where their attention was kept.
pub(super) static ALL: [Question; 7] = [
    Question {
        id: "routes",
        title: "region affinity",
        help: "How well each region fits the query of the shown one; the best few are read",
        turns: &[Turn::Unit],
    },
    Question {
        id: "in_degree",
        title: "in-degree",
        help: "How many regions read from each region",
        turns: &[Turn::Unit],
    },
    Question {
        id: "token_attention",
        title: "token attention",
        help: "Where the pressed token looks within the regions that its region reads from",
        turns: &[Turn::Unit, Turn::Head],
    },
    Question {
        id: "overlap",
        title: "overlap with another topk",
        help: "How much the routing has in common with the one at another topk. The regions of \
               the smaller are always among those of the larger; the map is the share of routing \
               weight that falls on them",
        turns: &[Turn::Unit, Turn::Against],
    },
    Question {
        id: "routing_graph",
        title: "routing graph",
        help: "Who reads from whom: the strongest arrows, over how many regions read from each",
        turns: &[Turn::Unit],
    },
    Question {
        id: "region_matrix",
        title: "affinity matrix",
        help: "All region affinities at once: a row holds what one region makes of every other",
        turns: &[Turn::Unit],
    },
    Question {
        id: "heads",
        title: "head agreement",
        help: "What each head of the pressed token reads most, and how far it is from the mean of \
               all heads",
        turns: &[Turn::Unit],
    },
];

/// More arrows than this hide the photograph and each other.
const MOST_LINKS: usize = 400;

/// What is asked, as far as it exists.
struct Wanted<'a> {
    trace: &'a RoutingTrace,
    asked: &'a Asked,
    /// The pressed region.
    pressed: Option<usize>,
    /// The same, or the middle one.
    region: usize,
    head: Option<usize>,
}

pub(super) fn answer(trace: &RoutingTrace, question: &str, asked: &Asked) -> Option<Answer> {
    let pressed = asked_unit(trace, asked);
    let wanted = Wanted {
        trace,
        asked,
        pressed,
        region: pressed.unwrap_or(trace.central_region()),
        head: asked.head.filter(|h| *h < trace.heads()),
    };
    match question {
        "routes" => Some(wanted.routes()),
        "in_degree" => Some(wanted.in_degree()),
        "token_attention" => wanted.token_attention(),
        "overlap" => Some(wanted.overlap()),
        "routing_graph" => Some(wanted.graph()),
        "region_matrix" => Some(wanted.matrix()),
        "heads" => wanted.heads(),
        _ => None,
    }
}

impl Wanted<'_> {
    fn routes(&self) -> Answer {
        let (trace, region) = (self.trace, self.region);
        let heat = Some(trace.affinity_row(region));
        let (marks, links) = trace.route_overlay(region);
        let title = format!("Region {region} and the {} it reads from", trace.topk);
        let caption = "Rank and routing weight; the heat map is the region affinity row";
        self.map("routes", title, caption, heat, marks, links)
    }

    fn in_degree(&self) -> Answer {
        let (marks, links) = self.pressed_routes();
        let heat = self.trace.in_degree();
        // Routing that has run together, every region reading the same few, shows in two numbers.
        let read = heat.values.iter().filter(|n| **n > 0.0).count();
        let most = heat.values.iter().copied().fold(0.0, f32::max);
        let all = self.trace.regions();
        let title = format!("{read} of {all} regions are read, one by {most}");
        let caption = "How many regions are routed to each region";
        self.map("in_degree", title, caption, Some(heat), marks, links)
    }

    fn token_attention(&self) -> Option<Answer> {
        let (trace, region) = (self.trace, self.region);
        let ([y, x], token) = self.token();
        let heat = trace.token_map(region, token, self.head)?;
        let (marks, _) = trace.route_overlay(region);
        let title = match self.asked.cell {
            Some(cell) if trace.region_at(cell[0], cell[1]) == Some(region) => {
                format!("Where the token at cell {x}, {y} of region {region} looks")
            }
            _ => format!("Where the middle token of region {region} looks"),
        };
        let caption = format!(
            "Token attention over the routed regions, {}",
            heads::name(self.head, trace.heads())
        );
        let mut answer = self.map(
            "token_attention",
            title,
            &caption,
            Some(heat),
            marks,
            vec![],
        );
        if let Body::Overlay(overlay) = &mut answer.view.body {
            let [x, y] = [x, y].map(|v| v as f32);
            let (right, bottom) = (x + 1.0, y + 1.0);
            overlay.outline = vec![
                [x, y, right, y],
                [right, y, right, bottom],
                [x, bottom, right, bottom],
                [x, y, x, bottom],
            ];
        }
        Some(answer)
    }

    fn overlap(&self) -> Answer {
        let (trace, region) = (self.trace, self.region);
        let there = self.asked.against;
        let there = there.filter(|t| (1..=trace.regions()).contains(t));
        let against = there.unwrap_or(trace.usual(Turn::Against));
        let overlap = trace.overlap(against);
        let (small, large) = (trace.topk.min(against), trace.topk.max(against));
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
        let own = overlap.get(region).copied().unwrap_or(0.0);
        let chosen = format!(
            "region {region} at topk {} and {against}: {small} of {large} regions in common, with \
             {} of the routing weight; {} on average",
            trace.topk,
            value_label(own, 3),
            value_label(mean(&overlap), 3),
        );
        let heat = Heat {
            quantity: "routing weight in common",
            values: overlap.into(),
            rows: trace.grid[0],
            cols: trace.grid[1],
            extent: [trace.padded[1] as f32, trace.padded[0] as f32],
        };
        let (marks, links) = trace.overlap_marks(region, against);
        let title = format!("Routing at topk {} and at {against}", trace.topk);
        let caption = format!(
            "Share of the routing weight at topk {large} that falls on the {small} regions that \
             both read"
        );
        let mut answer = self.map("overlap", title, &caption, Some(heat), marks, links);
        answer.beside = vec![self.overlap_curve()];
        Answer { chosen, ..answer }
    }

    /// How much is in common with every other topk.
    fn overlap_curve(&self) -> View {
        let (weights, step) = self.trace.overlap_by_topk();
        let k = self.trace.topk as f32;
        let points = weights
            .iter()
            .enumerate()
            .map(|(i, w)| [(i + 1) as f32, *w]);
        let counts = (1..=weights.len()).map(|t| {
            let t = t as f32;
            [t, k.min(t) / k.max(t)]
        });
        let caption = match step {
            1 => "Mean over all regions".to_owned(),
            n => format!("Mean over every {n}th region"),
        };
        View::new(
            "overlap_by_topk",
            format!("In common with topk {}", self.trace.topk),
            caption,
            Body::Curves(Curves {
                x_label: "topk",
                y_label: "share in common",
                series: vec![
                    ("routing weight".into(), points.collect()),
                    ("regions".into(), counts.collect()),
                ],
            }),
        )
    }

    fn graph(&self) -> Answer {
        let trace = self.trace;
        let (links, all) = trace.strongest_links(MOST_LINKS);
        let shown = links.len();
        let caption = match shown == all {
            true => format!("All {all} arrows between regions that are not only padding"),
            false => format!("The {shown} strongest of {all} arrows, by routing weight"),
        };
        let caption = caption + "; the heat map is how many regions read from each";
        let title = format!("Who reads from whom at topk {}", trace.topk);
        let (marks, _) = self.pressed_routes();
        let heat = Some(trace.in_degree());
        self.map("routing_graph", title, &caption, heat, marks, links)
    }

    fn matrix(&self) -> Answer {
        let trace = self.trace;
        let n = trace.regions();
        let labels = ["region reads", "is read"];
        let mut matrix = Matrix::of_units("region affinity", labels, n, |region, out| {
            out.copy_from_slice(trace.affinity.row(region));
        });
        matrix.row = self.pressed.map(|r| r / matrix.step);
        let mut caption = "Scaled products of the regions' mean queries and keys".to_owned();
        if matrix.step > 1 {
            caption += &format!(
                ". Every {0}th row is shown, columns are means of {0} regions",
                matrix.step
            );
        }
        let view = View::new(
            "region_matrix",
            format!("Affinity of {n} regions"),
            caption,
            Body::Matrix(matrix),
        );
        Answer {
            view,
            beside: vec![self.table()],
            chosen: self.chosen(),
        }
    }

    fn heads(&self) -> Option<Answer> {
        let (trace, region) = (self.trace, self.region);
        let ([y, x], token) = self.token();
        let rows = trace.rows_of(region, token)?;
        let place = |key: usize| match trace.key_cells(region, key) {
            Some((routed, [x, y, ..])) => (format!("cell {x}, {y} in region {routed}"), routed),
            None => (String::new(), region),
        };
        let (table, line) = heads::agreement(&rows, place)?;
        let title = format!("Heads of the token at cell {x}, {y}");
        let caption = "What each head reads most, and how far it is from the mean of all heads";
        Some(Answer {
            view: View::new("heads", title, caption, Body::Table(table)),
            beside: Vec::new(),
            chosen: format!("cell {x}, {y} of region {region}: {line}"),
        })
    }

    /// A map with the regions, and the routes of the shown one in numbers beside it.
    fn map(
        &self,
        name: &'static str,
        title: String,
        caption: &str,
        heat: Option<Heat>,
        marks: Vec<Mark>,
        links: Vec<Link>,
    ) -> Answer {
        let overlay = Overlay {
            heat,
            borders: grid_lines(self.trace.padded, self.trace.region),
            marks,
            links,
            greyed: self.trace.padding_rects(),
            ..Overlay::default()
        };
        Answer {
            view: View::new(name, title, caption, Body::Overlay(overlay)),
            beside: vec![self.table()],
            chosen: self.chosen(),
        }
    }

    /// Marks and links of the pressed region, if there is one.
    fn pressed_routes(&self) -> (Vec<Mark>, Vec<Link>) {
        let routes = self.pressed.map(|r| self.trace.route_overlay(r));
        routes.unwrap_or_default()
    }

    /// Where the shown region reads from, in numbers.
    fn table(&self) -> View {
        let (trace, region) = (self.trace, self.region);
        let routes = trace.routes(region);
        let row = |(rank, (routed, weight)): (usize, &(usize, f32))| {
            let affinity = match trace.is_padding(*routed) {
                true => "padding".to_owned(),
                false => value_label(trace.affinity.at(&[region, *routed]), 3),
            };
            let rank = (rank + 1).to_string();
            vec![rank, routed.to_string(), format!("{weight:.3}"), affinity]
        };
        let table = Table {
            columns: ["rank", "region", "weight", "affinity"]
                .map(String::from)
                .to_vec(),
            rows: routes.iter().enumerate().map(row).collect(),
            units: routes.iter().map(|r| r.0).collect(),
            note: self.padding_note(),
        };
        View::new(
            "route_table",
            format!("region {region}"),
            format!("read by {}", readers(trace, region)),
            Body::Table(table),
        )
    }

    /// What grey regions are, if there are some.
    fn padding_note(&self) -> String {
        let all = self.trace.regions();
        match (0..all).filter(|r| self.trace.is_padding(*r)).count() {
            0 => String::new(),
            n => format!(
                "{n} of {all} regions are grey: they hold only padding. They tie exactly, so their \
                 order among each other means nothing."
            ),
        }
    }

    /// One line on the shown region.
    fn chosen(&self) -> String {
        let routes = self.trace.routes(self.region);
        let list: Vec<String> = routes.iter().map(|r| r.0.to_string()).collect();
        format!("region {} reads from {}", self.region, list.join(", "))
    }

    /// The pressed token of the region, or its middle one: its cell and its place in the region.
    fn token(&self) -> ([usize; 2], usize) {
        let [h, w] = self.trace.region.map(|side| side.max(1));
        let of_region = |c: &[usize; 2]| self.trace.region_at(c[0], c[1]) == Some(self.region);
        let [y, x] = match self.asked.cell.filter(of_region) {
            Some([y, x]) => [y % h, x % w],
            None => [h / 2, w / 2],
        };
        let [left, top, ..] = self.trace.rect(self.region);
        ([top as usize + y, left as usize + x], y * w + x)
    }
}
