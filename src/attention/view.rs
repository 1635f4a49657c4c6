//! What a trace looks like, as data: the questions it answers, and the answers as maps, lines,
//! marks, bars, matrices and tables in the coordinates of the feature map. The window and the
//! exported figures paint the same answers.

use std::borrow::Cow;
use std::sync::Arc;

pub use super::lines::{grid_lines, label_borders};

/// One picture of a trace.
#[derive(Debug, Clone)]
pub struct View {
    /// Short name for files, e.g. `lost_mass`.
    pub name: Cow<'static, str>,
    /// Title shown to a person.
    pub title: String,
    /// What is seen, in one sentence.
    pub caption: String,
    /// What to paint.
    pub body: Body,
}

impl View {
    /// The view that answers the question `name`.
    pub fn new(
        name: &'static str,
        title: impl Into<String>,
        caption: impl Into<String>,
        body: Body,
    ) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            caption: caption.into(),
            body,
        }
    }
}

/// What a view consists of.
#[derive(Debug, Clone)]
pub enum Body {
    /// Things drawn over the photograph.
    Overlay(Overlay),
    /// Bars, one per channel.
    Bars(Bars),
    /// Numbers of pairs, or of the cells of a small grid.
    Matrix(Matrix),
    /// Numbers over a common axis.
    Curves(Curves),
    /// Words and numbers in columns.
    Table(Table),
    /// Small maps side by side.
    Gallery(Gallery),
}

/// A question that a trace answers with a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Question {
    /// Stable short name, in file names and view files: `token_attention`.
    pub id: &'static str,
    /// A few words, on the switch in the window.
    pub title: &'static str,
    /// What is seen and how to read it, in one or two sentences.
    pub help: &'static str,
    /// What else can be chosen for it.
    pub turns: &'static [Turn],
}

/// Something that can be chosen for a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// A super token, region or token.
    Unit,
    /// One head, or the mean of all.
    Head,
    /// An iteration of the association.
    Iteration,
    /// One of several attentions inside the row.
    Part,
    /// Another `topk` to compare with, from 1 to so many as there are.
    Against,
}

/// What is chosen, as one layer sees it. Everything may be out of range: what does not exist is
/// passed over.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The pressed cell of the feature map: row, column.
    pub cell: Option<[usize; 2]>,
    /// The pressed super token, region or token; without one that at [`Asked::cell`], or else the
    /// middle one where a picture needs one.
    pub unit: Option<usize>,
    /// One head; `None` is the mean of all.
    pub head: Option<usize>,
    /// Iteration of the association; `None` is the last.
    pub iteration: Option<usize>,
    /// Attention within the row; `None` is the first.
    pub part: Option<usize>,
    /// The other `topk`; `None` is twice that in use, or half of it where there are not so many.
    pub against: Option<usize>,
    /// The pressed channel.
    pub channel: Option<usize>,
}

/// What a trace answers.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The picture, with its title and a sentence on it.
    pub view: View,
    /// What stands beside it: at most a few small ones.
    pub beside: Vec<View>,
    /// One line on what is chosen: `super token 12 owns 61 cells`.
    pub chosen: String,
}

impl From<View> for Answer {
    /// The picture alone.
    fn from(view: View) -> Self {
        Self {
            view,
            beside: Vec::new(),
            chosen: String::new(),
        }
    }
}

/// What the cells of a layer are grouped into: super tokens, regions, or the tokens themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Units {
    /// One of them: `super token`.
    pub name: &'static str,
    /// Rows and columns; unit `r · columns + c` stands in row `r`, column `c`.
    pub grid: [usize; 2],
}

/// A name and what it is, in words: `owner`, `super token 12`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What.
    pub name: String,
    /// A number with its unit, or words.
    pub value: String,
}

/// Numbers of pairs (a row reads from a column), or of the cells of a small grid.
#[derive(Debug, Clone)]
pub struct Matrix {
    /// What the numbers are.
    pub quantity: &'static str,
    /// `rows × cols` values, row by row.
    pub values: Arc<[f32]>,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// What a row stands for, e.g. `reads`.
    pub row_label: &'static str,
    /// What a column stands for, e.g. `is read`.
    pub col_label: &'static str,
    /// Small text of each cell; empty where there is none. With labels the numbers are written
    /// into the cells.
    pub labels: Vec<String>,
    /// The chosen row.
    pub row: Option<usize>,
    /// Units per row and per column: row `r` is that of unit `r · step`, column `c` the mean over
    /// the `step` units from `c · step` on. Above 1 only for large tables of units.
    pub step: usize,
}

/// Tables of more units than this are thinned out: no picture could show them all.
const MOST_ROWS: usize = 512;

impl Matrix {
    /// A table of `n × n` units from its rows; `add(i, out)` adds the `n` values of unit `i`.
    pub fn of_units(
        quantity: &'static str,
        [row_label, col_label]: [&'static str; 2],
        n: usize,
        mut add: impl FnMut(usize, &mut [f32]),
    ) -> Self {
        let step = n.div_ceil(MOST_ROWS).max(1);
        let rows = n.div_ceil(step);
        let mut values = vec![0.0; rows * rows];
        let mut full = vec![0.0; if step > 1 { n } else { 0 }];
        for (r, row) in values.chunks_exact_mut(rows.max(1)).enumerate() {
            if step == 1 {
                add(r, row);
                continue;
            }
            full.fill(0.0);
            add(r * step, &mut full);
            for (v, part) in row.iter_mut().zip(full.chunks(step)) {
                *v = part.iter().sum::<f32>() / part.len() as f32;
            }
        }
        Self {
            quantity,
            values: values.into(),
            rows,
            cols: rows,
            row_label,
            col_label,
            labels: Vec::new(),
            row: None,
            step,
        }
    }
}

/// Numbers over a common axis.
#[derive(Debug, Clone)]
pub struct Curves {
    /// What runs to the right.
    pub x_label: &'static str,
    /// What runs upwards.
    pub y_label: &'static str,
    /// Name and points of each curve; of a single point only the point is drawn.
    pub series: Vec<(String, Vec<[f32; 2]>)>,
}

/// Words and numbers in columns.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Heads of the columns.
    pub columns: Vec<String>,
    /// Rows, as long as there are columns.
    pub rows: Vec<Vec<String>>,
    /// The unit that each row stands for, to be pressed; empty where rows stand for none.
    pub units: Vec<usize>,
    /// A sentence below; may be empty.
    pub note: String,
}

/// Small maps side by side.
#[derive(Debug, Clone)]
pub struct Gallery {
    /// A short text and the map of each, in the order to show.
    pub maps: Vec<(String, Heat)>,
    /// The channel that each map shows.
    pub channels: Vec<usize>,
}

/// Things drawn over the photograph. All coordinates are `x, y` in cells of the feature map,
/// measured from its top left corner.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    /// A heat map under the lines.
    pub heat: Option<Heat>,
    /// Line segments `x0, y0, x1, y1`.
    pub borders: Vec<[f32; 4]>,
    /// Strong line segments around what was asked about, above the borders.
    pub outline: Vec<[f32; 4]>,
    /// Arrows with a weight.
    pub links: Vec<Link>,
    /// Labelled rectangles.
    pub marks: Vec<Mark>,
    /// Rectangles to grey out: cells that consist of padding only.
    pub greyed: Vec<[f32; 4]>,
}

/// A row-major map of raw values.
#[derive(Debug, Clone)]
pub struct Heat {
    /// What the numbers are, e.g. `affinity`.
    pub quantity: &'static str,
    /// `rows × cols` values.
    pub values: Arc<[f32]>,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Width and height that the map covers, in cells of the feature map.
    pub extent: [f32; 2],
}

impl Heat {
    /// A map of one value per cell of a feature map.
    pub fn of_cells(quantity: &'static str, [rows, cols]: [usize; 2], values: Arc<[f32]>) -> Self {
        Self {
            quantity,
            values,
            rows,
            cols,
            extent: [cols as f32, rows as f32],
        }
    }

    /// The value of the cell under `x, y` (in cells of the feature map), if there is one.
    pub fn value_at(&self, x: f32, y: f32) -> Option<f32> {
        if x < 0.0 || y < 0.0 || x >= self.extent[0] || y >= self.extent[1] {
            return None;
        }
        let col = (x / self.extent[0] * self.cols as f32) as usize;
        let row = (y / self.extent[1] * self.rows as f32) as usize;
        (col < self.cols).then(|| self.values.get(row * self.cols + col).copied())?
    }
}

/// An arrow between two points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Start.
    pub from: [f32; 2],
    /// End.
    pub to: [f32; 2],
    /// Weight between 0 and 1.
    pub weight: f32,
}

/// How strongly a mark is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkKind {
    /// What was asked about.
    Query,
    /// What belongs to it.
    Related,
}

/// A labelled rectangle `x0, y0, x1, y1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// Where.
    pub rect: [f32; 4],
    /// Short text, may be empty.
    pub label: String,
    /// How it is drawn.
    pub kind: MarkKind,
}

/// Bars, one per channel.
#[derive(Debug, Clone)]
pub struct Bars {
    /// What the numbers are, e.g. `channel weight`.
    pub quantity: &'static str,
    /// One value per channel, in channel order.
    pub values: Arc<[f32]>,
}

impl Bars {
    /// Channel numbers from the largest value to the smallest; equal values keep their order.
    pub fn sorted(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        order.sort_by(|&a, &b| self.values[b].total_cmp(&self.values[a]));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heat_map_is_read_by_its_extent() {
        let heat = Heat {
            quantity: "affinity",
            values: vec![1., 2., 3., 4.].into(),
            rows: 2,
            cols: 2,
            extent: [8.0, 4.0],
        };
        assert_eq!(heat.value_at(7.9, 0.1), Some(2.0));
        assert_eq!(heat.value_at(0.0, 2.0), Some(3.0));
        assert_eq!(heat.value_at(8.0, 0.0), None);
        assert_eq!(heat.value_at(-0.1, 0.0), None);
    }

    #[test]
    fn bars_sort_from_large_to_small() {
        let bars = Bars {
            quantity: "w",
            values: vec![0.2, 0.9, 0.2, 0.5].into(),
        };
        assert_eq!(bars.sorted(), vec![1, 3, 0, 2]);
    }
}
