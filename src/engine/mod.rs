//! Picture + model + settings to an outcome: reuse of what did not change, and the thread that
//! does it while the window goes on.

mod ahead;
mod badges;
pub mod causal;
mod device;
mod figures;
mod outcome;
mod plan;
mod probe;
mod run;
mod settings;
mod store;
mod worker;

pub use device::{DeviceChoice, OpenDevice};
pub use figures::{class_name, detections_figure, view_figure};
pub use outcome::{Detected, LayerTrace, Outcome, Placement, Scene, Timing};
pub use probe::{MAX_PROBES, Probe, attach};
pub use run::{Engine, Listener, STORE_BYTES, Wish, network_input};
pub use settings::{MAX_SIZE, Settings};
pub use worker::{Failure, Progress, Snapshot, Worker};
