//! The models that the program carries.

/// A model in the program itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Bundled {
    /// Name of its folder under `models/`, and what it is asked for by.
    pub id: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    pub(super) yaml: &'static str,
    pub(super) card: &'static str,
    /// None: it runs on random weights, and says so.
    pub(super) weights: Option<&'static [u8]>,
}

/// A folder under `models/`; with `weights`, its weights too.
macro_rules! bundled {
    ($id:literal, $about:literal, $weights:expr) => {
        Bundled {
            id: $id,
            about: $about,
            yaml: include_str!(concat!("../../models/", $id, "/model.yaml")),
            card: include_str!(concat!("../../models/", $id, "/card.json")),
            weights: $weights,
        }
    };
}

/// All of them; the first one is opened when nothing else is asked for.
pub static BUNDLED: [Bundled; 6] = [
    bundled!(
        "yolo26n-attn",
        "Trained: super tokens, routed regions and polarized weights in one detector",
        Some(include_bytes!(
            "../../models/yolo26n-attn/weights.safetensors"
        ))
    ),
    bundled!(
        "yolo26-sta",
        "Trained: YOLO26 with super token attention",
        Some(include_bytes!(
            "../../models/yolo26-sta/weights.safetensors"
        ))
    ),
    bundled!(
        "yolo11-biformer",
        "Trained: YOLO11 with bi-level routing attention and a BiFormer block",
        Some(include_bytes!(
            "../../models/yolo11-biformer/weights.safetensors"
        ))
    ),
    bundled!(
        "yolov10n-polarized",
        "Trained: YOLOv10 with parallel polarized self-attention",
        Some(include_bytes!(
            "../../models/yolov10n-polarized/weights.safetensors"
        ))
    ),
    bundled!(
        "yolo26n",
        "Trained: plain YOLO26, what the attention rows are compared with",
        Some(include_bytes!("../../models/yolo26n/weights.safetensors"))
    ),
    bundled!(
        "yolov10n-polarized-sequential",
        "YOLOv10 with sequential polarized self-attention; random weights",
        None
    ),
];

impl Bundled {
    /// The one of this name.
    pub fn named(id: &str) -> Option<&'static Self> {
        BUNDLED.iter().find(|b| b.id == id)
    }
}
