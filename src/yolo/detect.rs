//! The detect head: box and class branches per level, one-to-many and, if the model has it,
//! one-to-one.

use candle_core::{Result, Tensor};
use rayon::prelude::*;

use super::Head;
use super::blocks::{Block, Chain, ConvSpec, Source, load_conv, load_plain_conv};
use crate::attention::Notes;
use crate::attention::position_sensitive::Eye;
use crate::kernels;

/// What one head put out, before decoding, on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct RawHead {
    /// `[4 · reg_max, A]` row-major; with `reg_max` 1 raw l, t, r, b in grid units.
    pub boxes: Vec<f32>,
    /// `[nc, A]` row-major logits.
    pub scores: Vec<f32>,
    /// Bins per side.
    pub reg_max: usize,
    /// Classes.
    pub classes: usize,
    /// Height, width and stride of each level; `A` runs over levels, rows, columns.
    pub levels: Vec<Level>,
}

/// One level of the anchor grid.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Pixels of the network input per cell.
    pub stride: f32,
}

/// What one level of a head put out, before decoding, where it was computed. Cloning shares it.
#[derive(Debug, Clone)]
pub struct RawLevel {
    /// `[4 · reg_max, H · W]`
    boxes: Tensor,
    /// `[nc, H · W]` logits.
    scores: Tensor,
    level: Level,
}

impl RawLevel {
    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        4 * (self.boxes.elem_count() + self.scores.elem_count())
    }
}

impl RawHead {
    /// Number of anchors `A`.
    pub fn anchors(&self) -> usize {
        self.levels.iter().map(|l| l.height * l.width).sum()
    }
}

/// Box and class branches of one level.
#[derive(Debug)]
struct Branches {
    boxes: Chain,
    scores: Chain,
}

/// The layer.
#[derive(Debug)]
pub struct Detect {
    /// At least one of the two.
    one_to_many: Option<Vec<Branches>>,
    one_to_one: Option<Vec<Branches>>,
    reg_max: usize,
    classes: usize,
    strides: Vec<f32>,
}

/// What a detect head is built from.
pub(super) struct DetectSpec<'a> {
    /// Channels of each level.
    pub channels: &'a [usize],
    /// Stride of each level.
    pub strides: Vec<f32>,
    pub classes: usize,
    pub reg_max: usize,
    /// Whether there is a one-to-one copy.
    pub end_to_end: bool,
    /// YOLOv8's class branch of full convolutions.
    pub legacy: bool,
}

/// Names of the branches begin with this.
fn prefix(head: Head) -> &'static str {
    match head {
        Head::OneToMany => "",
        Head::OneToOne => "one2one_",
    }
}

/// The heads that the weights have; a fused checkpoint keeps one of two. Without any, those that
/// the definition asks for.
fn present(source: &Source<'_>, end_to_end: bool, notes: &Notes) -> Vec<Head> {
    let both = [Head::OneToOne, Head::OneToMany];
    let has = |head: &Head| source.has(&format!("{}cv2.0.2.weight", prefix(*head)));
    let found: Vec<Head> = both.into_iter().filter(has).collect();
    let asked = match end_to_end {
        true => both.to_vec(),
        false => vec![Head::OneToMany],
    };
    match found.as_slice() {
        [] => asked,
        _ if found == asked => asked,
        [head] => {
            notes.add(format_args!(
                "the weights have the {} head only",
                head.name()
            ));
            found
        }
        _ => {
            notes.add("the weights have both heads");
            found
        }
    }
}

impl Detect {
    pub(super) fn load(source: &Source<'_>, spec: DetectSpec<'_>, notes: &Notes) -> Result<Self> {
        let first = spec.channels.first().copied().unwrap_or(0);
        let box_width = 16.max(first / 4).max(4 * spec.reg_max);
        let class_width = first.max(spec.classes.min(100));
        let head = |head: Head| -> Result<Vec<Branches>> {
            let prefix = prefix(head);
            // The weights know better than the rule of thumb on the other rows.
            let has = |name: &str| source.has(&format!("{prefix}cv3.0.0.{name}conv.weight"));
            let legacy = !has("0.") && (spec.legacy || has(""));
            let level = |(i, &c): (usize, &usize)| {
                let boxes = source.pp(format!("{prefix}cv2.{i}"));
                let scores = source.pp(format!("{prefix}cv3.{i}"));
                let stride = spec.strides.get(i).copied().unwrap_or(8.0);
                let rare = class_bias(spec.classes, stride);
                Ok(Branches {
                    boxes: plain_branch(&boxes, c, box_width, 4 * spec.reg_max, BOX_BIAS)?,
                    scores: if legacy {
                        plain_branch(&scores, c, class_width, spec.classes, rare)?
                    } else {
                        depthwise_branch(&scores, c, class_width, spec.classes, rare)?
                    },
                })
            };
            spec.channels.iter().enumerate().map(level).collect()
        };
        // A constant 0..reg_max, part of the state dict but not needed.
        if source.has("dfl.conv.weight") {
            source.get((1, spec.reg_max, 1, 1), "dfl.conv.weight")?;
        }
        let heads = present(source, spec.end_to_end, notes);
        let wanted = |which: Head| heads.contains(&which).then(|| head(which)).transpose();
        Ok(Self {
            one_to_many: wanted(Head::OneToMany)?,
            one_to_one: wanted(Head::OneToOne)?,
            reg_max: spec.reg_max,
            classes: spec.classes,
            strides: spec.strides,
        })
    }

    /// The heads this layer has.
    pub fn heads(&self) -> &'static [Head] {
        match (&self.one_to_one, &self.one_to_many) {
            (Some(_), Some(_)) => &[Head::OneToOne, Head::OneToMany],
            (Some(_), None) => &[Head::OneToOne],
            _ => &[Head::OneToMany],
        }
    }

    /// Runs one head on the levels `[1, C, H, W]`. A head that the model lacks falls back to the
    /// other.
    ///
    /// # Errors
    /// If the levels do not have the shapes the head was built for.
    pub fn forward(&self, levels: &[Tensor], head: Head) -> Result<RawHead> {
        let levels: Vec<_> = levels.iter().cloned().enumerate().collect();
        self.joined(&self.levels(&levels, head)?)
    }

    /// Runs one head on the levels `[1, C, H, W]` of these indices alone.
    ///
    /// # Errors
    /// If there is no such level, or it does not have the shape the head was built for.
    pub fn levels(&self, levels: &[(usize, Tensor)], head: Head) -> Result<Vec<RawLevel>> {
        // All branches side by side: a thread that would wait for the end of a small layer of one runs another.
        kernels::in_pool(|| {
            levels
                .par_iter()
                .map(|(i, x)| self.level(*i, x, head))
                .collect()
        })
    }

    fn level(&self, i: usize, x: &Tensor, head: Head) -> Result<RawLevel> {
        let (asked, other) = match head {
            Head::OneToOne => (&self.one_to_one, &self.one_to_many),
            Head::OneToMany => (&self.one_to_many, &self.one_to_one),
        };
        let branches = asked.as_ref().or(other.as_ref()).and_then(|b| b.get(i));
        let (Some(branches), Some(&stride)) = (branches, self.strides.get(i)) else {
            candle_core::bail!("a detect head without level {i}");
        };
        let (_, _, height, width) = x.dims4()?;
        let run = |branch: &Chain| {
            let y = branch.forward(x, &mut Eye::closed())?;
            y.get(0)?.flatten_from(1)
        };
        let (boxes, scores) = rayon::join(|| run(&branches.boxes), || run(&branches.scores));
        Ok(RawLevel {
            boxes: boxes?,
            scores: scores?,
            level: Level {
                height,
                width,
                stride,
            },
        })
    }

    /// All levels of one head together.
    ///
    /// # Errors
    /// If the levels are not of this head.
    pub fn joined(&self, levels: &[RawLevel]) -> Result<RawHead> {
        let boxes: Vec<Tensor> = levels.iter().map(|l| l.boxes.clone()).collect();
        let scores: Vec<Tensor> = levels.iter().map(|l| l.scores.clone()).collect();
        Ok(RawHead {
            boxes: kernels::cat_values(&boxes, 1)?,
            scores: kernels::cat_values(&scores, 1)?,
            reg_max: self.reg_max,
            classes: self.classes,
            levels: levels.iter().map(|l| l.level).collect(),
        })
    }
}

/// Bias of the box branches of a network that was never trained.
const BOX_BIAS: f64 = 2.0;

/// Bias of the class branches of a network that was never trained: it expects about five objects in
/// a picture of 640².
fn class_bias(classes: usize, stride: f32) -> f64 {
    let cells = (640.0 / f64::from(stride)).powi(2);
    (5.0 / classes.max(1) as f64 / cells).ln()
}

/// Two 3×3 convolutions and a bare 1×1.
fn plain_branch(
    source: &Source<'_>,
    from: usize,
    width: usize,
    to: usize,
    start: f64,
) -> Result<Chain> {
    Ok(Chain(vec![
        Box::new(load_conv(&source.pp("0"), ConvSpec::new(from, width, 3))?),
        Box::new(load_conv(&source.pp("1"), ConvSpec::new(width, width, 3))?),
        Box::new(load_plain_conv(&source.pp("2"), width, to, start)?),
    ]))
}

/// Depthwise 3×3 and 1×1, twice, and a bare 1×1.
fn depthwise_branch(
    source: &Source<'_>,
    from: usize,
    width: usize,
    to: usize,
    start: f64,
) -> Result<Chain> {
    let chain: Vec<Box<dyn Block>> = vec![
        Box::new(load_conv(&source.pp("0.0"), ConvSpec::depthwise(from, 3))?),
        Box::new(load_conv(&source.pp("0.1"), ConvSpec::new(from, width, 1))?),
        Box::new(load_conv(&source.pp("1.0"), ConvSpec::depthwise(width, 3))?),
        Box::new(load_conv(
            &source.pp("1.1"),
            ConvSpec::new(width, width, 1),
        )?),
        Box::new(load_plain_conv(&source.pp("2"), width, to, start)?),
    ];
    Ok(Chain(chain))
}
