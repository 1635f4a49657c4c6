//! Picture + model + settings to an outcome: reuse of what did not change, and the thread that
//! does it while the window goes on.

mod ahead;
mod badges;
pub mod causal;
mod device;
mod evaluate;
mod features;
mod figures;
mod numbers;
mod outcome;
mod plan;
mod probe;
mod rows;
mod run;
mod settings;
mod store;
mod worker;

pub use device::{DeviceChoice, OpenDevice};
pub use evaluate::{EVALUATED, Evaluation, Examination};
pub use features::{Channels, FeatureMaps};
pub use figures::{About, answer_figure, class_name, detections_figure};
pub use numbers::{answer_arrays, view_csv};
pub use outcome::{Detected, LayerTrace, Outcome, Placement, Scene, Timing};
pub use probe::{MAX_PROBES, Probe, attach};
pub use rows::{RowInfo, rows};
pub use run::{Engine, Listener, STORE_BYTES, Wish, network_input};
pub use settings::{MAX_SIZE, Settings};
pub use worker::{Failure, Progress, Snapshot, Worker};
