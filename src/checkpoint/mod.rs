//! Files to models: weights, the card, and the report on what fitted.

mod card;
mod damage;
mod model;
mod report;
mod weights;

pub use card::Card;
pub use model::{Model, Origin};
pub use report::{LoadReport, Misshaped, Named};
pub use weights::{Recorder, WeightSource};
