//! What super token attention can be asked, and the answers.

use super::SuperTokenTrace;
use super::parts;
use crate::attention::view::{
    Answer, Asked, Body, Curves, Heat, Mark, MarkKind, Matrix, Overlay, Question, Turn, View,
};
use crate::attention::{asked_unit, heads};
use crate::numbers::value_label;

const PARTITION: Question = Question {
    id: "partition",
    title: "partition",
    help: "Borders between super tokens: each pixel belongs to the one with the largest affinity",
    turns: &[Turn::Iteration],
};
const AFFINITY: Question = Question {
    id: "affinity",
    title: "affinity",
    help: "How much of each pixel goes to the pressed super token",
    turns: &[Turn::Unit, Turn::Iteration],
};
const MOVED: Question = Question {
    id: "affinity_moved",
    title: "how the affinity moved",
    help: "Entropy of the nine weights of a pixel in bits, mean over the map, by iteration (9 equal \
           weights have 3.17), and beside it the share of its weight that a pixel has moved since \
           the iteration before",
    turns: &[],
};
const LOST: Question = Question {
    id: "lost_mass",
    title: "lost mass",
    help: "Affinity that border pixels give to neighbours off the grid: it is lost",
    turns: &[Turn::Unit, Turn::Iteration],
};
const COMPOSED: Question = Question {
    id: "composed",
    title: "pixel to pixel",
    help: "How much the output at the pressed pixel reads from every pixel: to the super tokens, \
           among them and back. Exact per head, given the weights of this picture",
    turns: &[Turn::Unit, Turn::Head],
};
const READS: Question = Question {
    id: "token_attention",
    title: "token attention",
    help: "What the pressed super token reads from the others",
    turns: &[Turn::Unit, Turn::Head],
};
const READ_BY: Question = Question {
    id: "read_by",
    title: "is read by",
    help: "How much each super token reads from the pressed one",
    turns: &[Turn::Unit, Turn::Head],
};
const MATRIX: Question = Question {
    id: "token_matrix",
    title: "token matrix",
    help: "All token attention at once: every row is a super token that reads and sums to 1",
    turns: &[Turn::Unit, Turn::Head],
};
const HEADS: Question = Question {
    id: "heads",
    title: "head agreement",
    help: "What each head of the pressed super token reads most, and how far it is from the mean \
           of all heads",
    turns: &[Turn::Unit],
};

/// With attention among the super tokens.
static ATTENDING: [Question; 9] = [
    PARTITION, AFFINITY, LOST, READS, READ_BY, MATRIX, HEADS, COMPOSED, MOVED,
];
/// Where nothing happens among them.
static BARE: [Question; 5] = [PARTITION, AFFINITY, LOST, COMPOSED, MOVED];
/// Where something else happens among them.
static MIXING: [Question; 4] = [PARTITION, AFFINITY, LOST, MOVED];

/// The questions that a trace answers.
pub(super) fn of(trace: &SuperTokenTrace) -> &'static [Question] {
    let all: &[Question] = match (trace.token_attention.is_some(), trace.composes()) {
        (true, _) => &ATTENDING,
        (false, true) => &BARE,
        (false, false) => &MIXING,
    };
    // Cells of one pixel have no affinity that could move.
    &all[..all.len() - usize::from(trace.affinity.is_empty())]
}

/// What to know about cells of one pixel.
const DIRECT: &str = ". Cells of one pixel: every pixel is its own super token. There is no \
                      affinity and nothing is lost; the pixels attend to each other directly";

/// What is asked, as far as it exists.
struct Wanted<'a> {
    trace: &'a SuperTokenTrace,
    asked: &'a Asked,
    iteration: usize,
    /// The pressed super token.
    pressed: Option<usize>,
    /// The same, or the middle one.
    token: usize,
    head: Option<usize>,
}

pub(super) fn answer(trace: &SuperTokenTrace, question: &str, asked: &Asked) -> Option<Answer> {
    let question = of(trace).iter().find(|q| q.id == question)?;
    let pressed = asked_unit(trace, asked);
    // What lies behind the association follows from its last iteration.
    let earlier = asked.iteration;
    let earlier = earlier.filter(|_| question.turns.contains(&Turn::Iteration));
    let wanted = Wanted {
        trace,
        asked,
        iteration: trace.iteration(earlier),
        pressed,
        token: pressed.unwrap_or(trace.central_token()),
        head: asked.head.filter(|h| *h < trace.heads()),
    };
    match question.id {
        "partition" => Some(wanted.partition()),
        "affinity" => Some(wanted.affinity()),
        "lost_mass" => Some(wanted.lost()),
        "affinity_moved" => wanted.moved(),
        "composed" => wanted.composed(),
        "token_attention" => Some(wanted.reads()),
        "read_by" => Some(wanted.read_by()),
        "token_matrix" => Some(wanted.matrix()),
        "heads" => wanted.heads(),
        _ => None,
    }
}

impl Wanted<'_> {
    fn partition(&self) -> Answer {
        let title = format!("{} super tokens, hard partition", self.trace.tokens_count());
        let caption = "Each area belongs to the super token with the largest affinity";
        self.map("partition", title, caption.into(), None, self.pressed)
    }

    fn affinity(&self) -> Answer {
        let (token, heat) = (self.token, self.trace.soft_map(self.iteration, self.token));
        let title = format!("Affinity to super token {token}");
        let caption = "Share of each pixel that goes to this super token";
        self.map("affinity", title, caption.into(), Some(heat), Some(token))
    }

    fn lost(&self) -> Answer {
        let heat = self.trace.lost_mass(self.iteration);
        let caption = "Weight that border pixels give to super tokens outside the picture";
        let title = "Mass lost off the grid".into();
        self.map("lost_mass", title, caption.into(), Some(heat), self.pressed)
    }

    fn reads(&self) -> Answer {
        let heat = self.trace.reads_from(self.token, self.head);
        let title = format!("What super token {} reads from", self.token);
        let caption = format!("Attention between super tokens, {}", self.head_name());
        self.map(
            "token_attention",
            title,
            caption,
            Some(heat),
            Some(self.token),
        )
    }

    fn read_by(&self) -> Answer {
        let heat = self.trace.read_by(self.token, self.head);
        let title = format!("How much super token {} is read by each", self.token);
        let caption = format!(
            "Share of what each super token reads, {}; {} on average",
            self.head_name(),
            value_label(1.0 / self.trace.tokens_count().max(1) as f32, 2)
        );
        self.map("read_by", title, caption, Some(heat), Some(self.token))
    }

    fn composed(&self) -> Option<Answer> {
        let [y, x] = self.pixel();
        let heat = self.trace.composed([y, x], self.head)?;
        let sum: f32 = heat.values.iter().sum();
        let own = heat.values.get(y * heat.cols + x).copied();
        let title = format!("What the output at cell {x}, {y} reads");
        let caption = format!(
            "Association, token attention and the way back in one, {}",
            self.head_name()
        );
        let chosen = format!(
            "cell {x}, {y} reads {} in all, {} from itself, {} lost off the grid",
            value_label(sum, 3),
            value_label(own.unwrap_or(0.0), 3),
            value_label((1.0 - sum).max(0.0), 2),
        );
        let mut answer = self.map("composed", title, caption, Some(heat), self.pressed);
        if let Body::Overlay(overlay) = &mut answer.view.body {
            let (x, y) = (x as f32, y as f32);
            overlay.marks = vec![Mark {
                rect: [x, y, x + 1.0, y + 1.0],
                label: String::new(),
                kind: MarkKind::Query,
            }];
        }
        Some(Answer { chosen, ..answer })
    }

    fn moved(&self) -> Option<Answer> {
        let (entropies, moved) = self.trace.movement();
        let last = *entropies.last()?;
        let series = |name: &str, values: &[f32], first: usize| {
            let points = values.iter().enumerate();
            let points = points.map(|(i, v)| [(i + first) as f32, *v]).collect();
            vec![(name.to_owned(), points)]
        };
        let curves = |y_label, series| {
            Body::Curves(Curves {
                x_label: "iteration",
                y_label,
                series,
            })
        };
        let body = curves("entropy, bits", series("entropy", &entropies, 1));
        let mut chosen = format!("entropy {} bits in the end", value_label(last, 3));
        let mut beside = Vec::new();
        match moved.last() {
            Some(moved_last) => {
                chosen += &format!("; last move {}", value_label(*moved_last, 3));
                beside.push(View::new(
                    "affinity_change",
                    "Share of its weight that a pixel moves",
                    "Half the sum of the nine changes since the iteration before, mean over the map",
                    curves("share moved", series("moved", &moved, 2)),
                ));
            }
            None => chosen += "; nothing moves in one iteration",
        }
        let view = View::new(
            "affinity_moved",
            "How the affinity moved",
            "Mean over the map of the entropy of the nine weights in bits; 9 equal weights have 3.17",
            body,
        );
        Some(Answer {
            view,
            beside,
            chosen,
        })
    }

    fn matrix(&self) -> Answer {
        let trace = self.trace;
        let n = trace.tokens_count();
        let labels = ["super token reads", "is read"];
        let mut matrix = Matrix::of_units("token attention", labels, n, |query, out| {
            let rows = trace.rows_of(query);
            let rows = self.head.map_or(&rows[..], |h| &rows[h..=h]);
            for row in rows {
                for (v, a) in out.iter_mut().zip(*row) {
                    *v += a / rows.len() as f32;
                }
            }
        });
        matrix.row = self.pressed.map(|t| t / matrix.step);
        let mut caption = format!("Every row sums to 1; {}", self.head_name());
        if matrix.step > 1 {
            caption += &format!(
                ". Every {}th row is shown, columns are means of {} super tokens",
                matrix.step, matrix.step
            );
        }
        let title = format!("Token attention of {n} super tokens");
        Answer {
            view: View::new("token_matrix", title, caption, Body::Matrix(matrix)),
            beside: Vec::new(),
            chosen: format!("{n} super tokens, {}", self.head_name()),
        }
    }

    fn heads(&self) -> Option<Answer> {
        let rows = self.trace.rows_of(self.token);
        let (table, line) = heads::agreement(&rows, |t| (format!("super token {t}"), t))?;
        let title = format!("Heads of super token {}", self.token);
        let caption = "What each head reads most, and how far it is from the mean of all heads";
        Some(Answer {
            view: View::new("heads", title, caption, Body::Table(table)),
            beside: Vec::new(),
            chosen: format!("super token {}: {line}", self.token),
        })
    }

    /// A map with the borders of the partition, and a super token with its outline.
    fn map(
        &self,
        name: &'static str,
        title: String,
        caption: String,
        heat: Option<Heat>,
        token: Option<usize>,
    ) -> Answer {
        let partition = parts::partition(self.trace, self.iteration);
        let owned = token.map(|t| parts::owned(self.trace, &partition.owners, t));
        let chosen = self.chosen(
            partition.mean_lost,
            token.zip(owned.as_ref().map(|o| o.count)),
        );
        let bare = self.trace.affinity.is_empty();
        let mark = token.map(|token| Mark {
            rect: self.trace.cell(token),
            label: format!("super token {token}"),
            kind: MarkKind::Query,
        });
        let shows_map = heat.is_some();
        let overlay = Overlay {
            heat,
            // Where every cell is its own super token, borders would only hide the map.
            borders: match bare && shows_map {
                true => Vec::new(),
                false => partition.borders,
            },
            outline: owned.map_or(Vec::new(), |o| o.outline),
            marks: mark.into_iter().collect(),
            ..Overlay::default()
        };
        let caption = if bare { caption + DIRECT } else { caption };
        Answer {
            view: View::new(name, title, caption, Body::Overlay(overlay)),
            beside: self.nine().into_iter().collect(),
            chosen,
        }
    }

    /// The nine weights of the pressed cell.
    fn nine(&self) -> Option<View> {
        let [y, x] = self.asked.cell?;
        let weights = self.trace.weights_at(self.iteration, y, x);
        if weights.is_empty() {
            return None;
        }
        let label = |t: Option<usize>| t.map_or("off grid".into(), |t: usize| t.to_string());
        let matrix = Matrix {
            quantity: "affinity",
            values: weights.iter().map(|w| w.1).collect(),
            rows: 3,
            cols: 3,
            row_label: "",
            col_label: "",
            labels: weights.iter().map(|w| label(w.0)).collect(),
            row: None,
            step: 1,
        };
        Some(View::new(
            "nine",
            format!("weights of cell {x}, {y}"),
            "What the cell gives to the nine super tokens around it; small: the super token",
            Body::Matrix(matrix),
        ))
    }

    /// One line on a super token and the cells it owns, or on all of them.
    fn chosen(&self, mean_lost: f32, owns: Option<(usize, usize)>) -> String {
        let lost = format!("mean lost share {}", value_label(mean_lost, 3));
        match owns {
            Some((token, 1)) => format!("super token {token} owns 1 cell · {lost}"),
            Some((token, count)) => format!("super token {token} owns {count} cells · {lost}"),
            None => {
                let [h, w] = self.trace.stoken_size;
                let n = self.trace.tokens_count();
                format!("{n} super tokens of {w} × {h} cells · {lost}")
            }
        }
    }

    fn head_name(&self) -> String {
        heads::name(self.head, self.trace.heads())
    }

    /// The pressed pixel, or the middle of the pressed super token or of the map.
    fn pixel(&self) -> [usize; 2] {
        let [h, w] = self.trace.padded;
        let inside = |c: &[usize; 2]| c[0] < h && c[1] < w;
        self.asked.cell.filter(inside).unwrap_or_else(|| {
            let [x0, y0, x1, y1] = self.trace.cell(self.token);
            let middle = |a: f32, b: f32, n: usize| (((a + b) / 2.0) as usize).min(n.max(1) - 1);
            [
                middle(y0, y1, self.trace.map[0]),
                middle(x0, x1, self.trace.map[1]),
            ]
        })
    }
}
