//! Files to models: checkpoints, weights, the card, and the report on what fitted.

mod bundled;
mod bytes;
mod card;
mod convert;
mod damage;
mod digest;
mod flat;
mod locate;
mod model;
mod parts;
mod random;
mod report;
mod tensors;
mod torch;
mod weights;
mod yaml;

use digest::Digest;

pub use bundled::{BUNDLED, Bundled};
pub use card::Card;
pub use convert::convert;
pub use model::{Model, Origin};
pub use report::{LoadReport, Misshaped, Named, RandomRow};
pub use weights::{Recorder, WeightSource};
