//! What can be said on the command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::attention::KnobValue;
use crate::engine::{DeviceChoice, Probe};
use crate::yolo::Head;

/// Shows why an attention-augmented YOLO detector looks where it looks.
#[derive(Debug, Parser)]
#[command(name = "attnscope", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do; without a command the window opens.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Options of the window.
    #[command(flatten)]
    pub window: WindowArgs,
}

/// A door that is not the window.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write detections, traces and pictures of photographs to a folder.
    Analyze(AnalyzeArgs),
    /// Measure how well a model finds what is on labelled pictures: mAP50 and mAP50-95.
    Evaluate(EvaluateArgs),
    /// Draw the figure of a view file without a window: the same bytes as an export from there.
    Render(RenderArgs),
    /// Take the pictures of README from the real window (it opens by itself and closes again).
    Screenshots(ScreenshotsArgs),
    /// List the layers of a model, its attention layers and their knobs.
    Layers(LayersArgs),
    /// Say how the weights of a model fit its network; fails if not all of them are there.
    Check(CheckArgs),
    /// Write a model as a folder: model.yaml, weights.safetensors and card.json.
    Convert(ConvertArgs),
    /// Measure how long things take on this machine.
    Bench(super::bench::BenchArgs),
}

/// Options of the window.
#[derive(Debug, Args)]
pub struct WindowArgs {
    /// A picture to open.
    pub picture: Option<PathBuf>,
    /// A checkpoint (.pt) or a model folder (model.yaml, weights.safetensors, card.json) instead of
    /// the bundled model.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Where the network runs.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|metal")]
    pub device: DeviceChoice,
}

/// Options of `analyze`.
#[derive(Debug, Args)]
pub struct AnalyzeArgs {
    /// Pictures to analyse.
    #[arg(required = true, value_name = "IMAGE")]
    pub images: Vec<PathBuf>,
    /// A checkpoint (.pt) or a model folder (model.yaml, weights.safetensors, card.json) instead of
    /// the bundled model.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Side of the square network input in pixels; without it, the model's best.
    #[arg(long, value_parser = side, value_name = "N")]
    pub imgsz: Option<usize>,
    /// Turn a knob, e.g. 8.topk=6 or 5.stoken_size=6x4 (height x width). `layers` lists them.
    #[arg(long, value_name = "LAYER.KNOB=VALUE")]
    pub set: Vec<Setting>,
    /// Attach a probe to a layer without attention, e.g. 6=sta or 16=bra. It takes the next free
    /// layer number, computes beside the network and changes no detection.
    #[arg(long, value_name = "LAYER=MECHANISM")]
    pub probe: Vec<Probe>,
    /// Which head is read; without it, the model's best.
    #[arg(long, value_enum, value_name = "HEAD")]
    pub head: Option<HeadArg>,
    /// A detection needs a score above this.
    #[arg(long, default_value_t = 0.25, value_parser = share, value_name = "X")]
    pub conf: f32,
    /// Overlap above which the weaker of two boxes goes (one-to-many head only).
    #[arg(long, default_value_t = 0.7, value_parser = share, value_name = "X")]
    pub iou: f32,
    /// Where the network runs.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|metal")]
    pub device: DeviceChoice,
    /// Folder to write to; each picture gets a folder of its own in it.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

/// Options of `evaluate`.
#[derive(Debug, Args)]
pub struct EvaluateArgs {
    /// Labelled pictures: a folder with labels.jsonl, with images and labels (YOLO text), or with
    /// COCO annotations; a split of it; or a label file or tar archive itself.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// A checkpoint (.pt), a model folder (model.yaml, weights.safetensors, card.json), or the name
    /// of a bundled model.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Side of the square network input in pixels; without it, the model's best.
    #[arg(long, value_parser = side, value_name = "N")]
    pub imgsz: Option<usize>,
    /// Turn a knob, e.g. 8.topk=6 or 5.stoken_size=6x4 (height x width). `layers` lists them.
    #[arg(long, value_name = "LAYER.KNOB=VALUE")]
    pub set: Vec<Setting>,
    /// Which head is read; without it, the model's best.
    #[arg(long, value_enum, value_name = "HEAD")]
    pub head: Option<HeadsArg>,
    /// Only the first pictures.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), value_name = "N")]
    pub limit: Option<u32>,
    /// Where the network runs.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|metal")]
    pub device: DeviceChoice,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `render`.
#[derive(Debug, Args)]
pub struct RenderArgs {
    /// A view file, saved from the window.
    #[arg(value_name = "VIEW")]
    pub view: PathBuf,
    /// The file to write; its ending says what: .png or .svg for the figure, .csv or .npz for the
    /// numbers of the map.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Draw another pane of the view: detections, super_token, routing, polarized,
    /// position_sensitive, layers.
    #[arg(long, value_name = "PANE")]
    pub pane: Option<String>,
    /// Pixels per point of a PNG, 0.5 to 4.
    #[arg(long, default_value_t = 2.0, value_parser = pixels_per_point, value_name = "X")]
    pub scale: f32,
    /// Where the network runs.
    #[arg(long, default_value = "auto", value_name = "auto|cpu|cuda|metal")]
    pub device: DeviceChoice,
}

/// Options of `layers`.
#[derive(Debug, Args)]
pub struct LayersArgs {
    /// A checkpoint (.pt) or a model folder instead of the bundled model.
    #[arg(long, value_name = "PATH")]
    pub model: Option<PathBuf>,
    /// Input side that the legal ranges are stated for; without it, the model's best.
    #[arg(long, value_parser = side, value_name = "N")]
    pub imgsz: Option<usize>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// A checkpoint (.pt), a model folder, or a file of one.
    pub model: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

/// Options of `convert`.
#[derive(Debug, Args)]
pub struct ConvertArgs {
    /// A checkpoint (.pt), a model folder, or a file of one.
    pub model: PathBuf,
    /// Folder to write to.
    pub out: PathBuf,
}

impl From<WindowArgs> for crate::app::AppOptions {
    fn from(args: WindowArgs) -> Self {
        Self {
            photo: args.picture,
            model: args.model,
            device: args.device,
        }
    }
}

/// Options of `screenshots`.
#[derive(Debug, Args)]
pub struct ScreenshotsArgs {
    /// Folder to write to.
    #[arg(long, default_value = "screenshots", value_name = "DIR")]
    pub out: PathBuf,
}

/// [`Head`] as a command-line value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum HeadArg {
    /// One box per object, no suppression.
    OneToOne,
    /// Many boxes per object, with suppression.
    OneToMany,
}

impl From<HeadArg> for Head {
    fn from(head: HeadArg) -> Self {
        match head {
            HeadArg::OneToOne => Self::OneToOne,
            HeadArg::OneToMany => Self::OneToMany,
        }
    }
}

/// One head, or each of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadsArg {
    /// This one.
    One(HeadArg),
    /// All that the model has.
    Both,
}

impl ValueEnum for HeadsArg {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [HeadsArg; 3] = [
            HeadsArg::One(HeadArg::OneToOne),
            HeadsArg::One(HeadArg::OneToMany),
            HeadsArg::Both,
        ];
        &ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        match self {
            Self::One(head) => head.to_possible_value(),
            Self::Both => Some(PossibleValue::new("both").help("Each of them")),
        }
    }
}

/// One `LAYER.KNOB=VALUE`.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// Row of the network.
    pub row: usize,
    /// Knob name.
    pub knob: String,
    /// Value.
    pub value: KnobValue,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form =
            || format!("'{text}' is no setting; expected LAYER.KNOB=VALUE, such as 8.topk=6");
        let (target, value) = text.split_once('=').ok_or_else(form)?;
        let (row, knob) = target.split_once('.').ok_or_else(form)?;
        if knob.trim().is_empty() {
            return Err(form());
        }
        Ok(Self {
            row: row.trim().parse().map_err(|_| form())?,
            knob: knob.trim().to_owned(),
            value: value.parse()?,
        })
    }
}

/// A side in pixels. The engine moves it to one that the model can take.
pub(super) fn side(text: &str) -> Result<usize, String> {
    let side = text.parse();
    side.map_err(|_| "expected a number of pixels, such as 640".into())
}

/// A number from 0 to 1.
fn pixels_per_point(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(v) if (0.5..=4.0).contains(&v) => Ok(v),
        _ => Err("expected a number from 0.5 to 4".into()),
    }
}

fn share(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(v) if (0.0..=1.0).contains(&v) => Ok(v),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn settings_are_read() {
        let s: Setting = "5.stoken_size=6x4".parse().unwrap();
        assert_eq!((s.row, s.knob.as_str()), (5, "stoken_size"));
        assert_eq!(s.value, KnobValue::Pair([6, 4]));
        for bad in [
            "",
            "5",
            "5.topk",
            "topk=3",
            "a.topk=3",
            "5.=3",
            "5.topk=",
            "5.topk=-1",
            "-1.topk=3",
        ] {
            assert!(bad.parse::<Setting>().is_err(), "{bad}");
        }
    }

    #[test]
    fn thresholds_are_shares() {
        assert!(share("0.5").is_ok());
        for bad in ["1.1", "-0.1", "NaN", "x", "inf"] {
            assert!(share(bad).is_err(), "{bad}");
        }
    }
}
