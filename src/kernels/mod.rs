//! The few fused operations that candle's own are too slow for on the CPU.
//!
//! Every public function takes and returns candle tensors. For f32 on the CPU it runs the code of this module (a
//! candle custom op over rayon's global thread pool, compiled for several instruction sets and
//! chosen at run time); anywhere else it runs its twin in [`plain`], made of ordinary candle operations, which is also
//! what the tests compare with.
//!
//! The order in which a value is summed never depends on the number of threads or on their timing: the same input
//! gives the same bytes on the same machine. NaN and infinities travel through; they never panic.

mod activation;
mod association;
mod attention;
mod attention_weights;
mod cat;
mod cell_means;
mod conv;
mod conv_gemm;
mod depthwise;
mod isa;
mod lanes;
mod maps;
mod memory;
mod micro;
mod norm;
mod output;
pub mod plain;
mod planes;
mod pointwise;
mod pool;
mod routed;
mod routed_weights;
mod scratch;
mod softmax;
#[cfg(test)]
mod tests;
mod threads;
mod tile;
mod unfold;
mod upsample;
mod weigh;
mod winograd;
mod work;

pub use activation::Activation;
pub use association::{Cells, affinity, spread, weighted_means};
pub use attention::attention;
pub use attention_weights::{AttentionWeights, attention_weights};
pub use cat::{cat, cat_values};
pub use cell_means::cell_means;
pub use conv::Conv2d;
pub use memory::keep_memory;
pub use norm::layer_norm_channels;
pub use pointwise::gelu;
pub use pool::max_pool2d_same;
pub use routed::{Routes, routed_attention};
pub use routed_weights::routed_weights;
pub use softmax::softmax_last;
pub use threads::{in_pool, one_pool};
pub use upsample::upsample_nearest2x;
pub use weigh::{Weighing, weigh};

use candle_core::{CpuStorage, DType, Layout, Result, Tensor};

/// Whether the fast paths can take this tensor.
fn is_fast(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The values of a contiguous f32 tensor on the CPU.
fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let values = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((from, to)) => Ok(&values[from..to]),
        None => candle_core::bail!("the kernel needs a contiguous tensor, not {layout:?}"),
    }
}
