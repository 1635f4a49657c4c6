//! Every kernel against the same work done by candle's own operations.
//!
//! `cargo bench --bench kernels [name]` ends with a table: the fastest run of each, GFLOP/s where that means
//! something, and how many times longer candle takes. `RAYON_NUM_THREADS` sets the number of threads.

use std::cell::Cell;
use std::time::{Duration, Instant};

use attnscope::kernels::{self, Activation, Conv2d, plain};
use candle_core::{Device, Result, Tensor};
use criterion::Criterion;

/// The same work twice.
struct Case {
    name: String,
    gflop: f64,
    fast: Box<dyn Fn() -> Result<Tensor>>,
    candle: Box<dyn Fn() -> Result<Tensor>>,
}

impl Case {
    fn new(
        name: &str,
        gflop: f64,
        fast: impl Fn() -> Result<Tensor> + 'static,
        candle: impl Fn() -> Result<Tensor> + 'static,
    ) -> Self {
        Self {
            name: name.to_owned(),
            gflop,
            fast: Box::new(fast),
            candle: Box::new(candle),
        }
    }
}

/// Input channels, output channels, kernel, stride, groups, input side, how often in a row.
type Layer = (usize, usize, usize, usize, usize, usize, usize);

/// Layers of their own row in the table.
const LAYERS: [Layer; 14] = [
    (3, 16, 3, 2, 1, 640, 1),
    (16, 32, 3, 2, 1, 320, 1),
    (8, 16, 3, 1, 1, 160, 1),
    (48, 64, 1, 1, 1, 160, 1),
    (64, 64, 3, 2, 1, 160, 1),
    (64, 64, 1, 1, 1, 80, 1),
    (64, 64, 3, 1, 1, 80, 1),
    (128, 128, 3, 1, 1, 40, 1),
    (384, 128, 1, 1, 1, 40, 1),
    (64, 64, 3, 1, 1, 20, 1),
    (512, 256, 1, 1, 1, 20, 1),
    (128, 128, 3, 1, 128, 40, 1),
    (128, 128, 7, 1, 128, 20, 1),
    (256, 256, 3, 2, 256, 40, 1),
];

/// Every convolution of yolo11n at 640², 6.48 GFLOP.
#[rustfmt::skip]
const YOLO11N: &[Layer] = &[
    // Backbone.
    (3, 16, 3, 2, 1, 640, 1), (16, 32, 3, 2, 1, 320, 1), (32, 32, 1, 1, 1, 160, 1), (16, 8, 3, 1, 1, 160, 1),
    (8, 16, 3, 1, 1, 160, 1), (48, 64, 1, 1, 1, 160, 1), (64, 64, 3, 2, 1, 160, 1), (64, 64, 1, 1, 1, 80, 1),
    (32, 16, 3, 1, 1, 80, 1), (16, 32, 3, 1, 1, 80, 1), (96, 128, 1, 1, 1, 80, 1), (128, 128, 3, 2, 1, 80, 1),
    (128, 128, 1, 1, 1, 40, 1), (64, 32, 1, 1, 1, 40, 2), (32, 32, 3, 1, 1, 40, 4), (64, 64, 1, 1, 1, 40, 1),
    (192, 128, 1, 1, 1, 40, 1), (128, 256, 3, 2, 1, 40, 1), (256, 256, 1, 1, 1, 20, 1), (128, 64, 1, 1, 1, 20, 2),
    (64, 64, 3, 1, 1, 20, 4), (128, 128, 1, 1, 1, 20, 1), (384, 256, 1, 1, 1, 20, 1), (256, 128, 1, 1, 1, 20, 1),
    (512, 256, 1, 1, 1, 20, 1), (256, 256, 1, 1, 1, 20, 2), (128, 256, 1, 1, 1, 20, 2), (128, 128, 3, 1, 128, 20, 1),
    (128, 128, 1, 1, 1, 20, 1), (256, 128, 1, 1, 1, 20, 1),
    // Neck.
    (384, 128, 1, 1, 1, 40, 1), (64, 32, 3, 1, 1, 40, 1), (32, 64, 3, 1, 1, 40, 1), (192, 128, 1, 1, 1, 40, 1),
    (256, 64, 1, 1, 1, 80, 1), (32, 16, 3, 1, 1, 80, 1), (16, 32, 3, 1, 1, 80, 1), (96, 64, 1, 1, 1, 80, 1),
    (64, 64, 3, 2, 1, 80, 1), (192, 128, 1, 1, 1, 40, 1), (64, 32, 3, 1, 1, 40, 1), (32, 64, 3, 1, 1, 40, 1),
    (192, 128, 1, 1, 1, 40, 1), (128, 128, 3, 2, 1, 40, 1), (384, 256, 1, 1, 1, 20, 1), (128, 64, 1, 1, 1, 20, 2),
    (64, 64, 3, 1, 1, 20, 4), (128, 128, 1, 1, 1, 20, 1), (384, 256, 1, 1, 1, 20, 1),
    // Head.
    (64, 64, 3, 1, 1, 80, 2), (64, 64, 1, 1, 1, 80, 1), (64, 64, 3, 1, 64, 80, 1), (64, 80, 1, 1, 1, 80, 1),
    (80, 80, 3, 1, 80, 80, 1), (80, 80, 1, 1, 1, 80, 2), (128, 64, 3, 1, 1, 40, 1), (64, 64, 3, 1, 1, 40, 1),
    (64, 64, 1, 1, 1, 40, 1), (128, 128, 3, 1, 128, 40, 1), (128, 80, 1, 1, 1, 40, 1), (80, 80, 3, 1, 80, 40, 1),
    (80, 80, 1, 1, 1, 40, 2), (256, 64, 3, 1, 1, 20, 1), (64, 64, 3, 1, 1, 20, 1), (64, 64, 1, 1, 1, 20, 1),
    (256, 256, 3, 1, 256, 20, 1), (256, 80, 1, 1, 1, 20, 1), (80, 80, 3, 1, 80, 20, 1),
    (80, 80, 1, 1, 1, 20, 2),
];

fn random(shape: &[usize]) -> Result<Tensor> {
    Tensor::rand(-1f32, 1., shape, &Device::Cpu)
}

fn gflop((input, out, k, stride, groups, side, times): Layer) -> f64 {
    (2 * input / groups * out * k * k * (side / stride).pow(2) * times) as f64 * 1e-9
}

/// Layers run one after the other; each reads the same memory, as a layer reads what the one before just wrote.
fn convolutions(name: &str, layers: &[Layer]) -> Result<Case> {
    let largest = layers.iter().map(|l| l.0 * l.5 * l.5).max().unwrap_or(0);
    let memory = random(&[largest])?;
    let mut built = Vec::new();
    for &layer in layers {
        let (input, out, k, stride, groups, side, times) = layer;
        let weight = random(&[out, input / groups, k, k])?;
        let conv = Conv2d::new(
            weight.clone(),
            None,
            stride,
            k / 2,
            groups,
            Activation::Silu,
        )?;
        let x = memory
            .narrow(0, 0, input * side * side)?
            .reshape((1, input, side, side))?;
        built.extend(std::iter::repeat_n((conv, weight, x, layer), times));
    }
    let work = layers.iter().map(|&layer| gflop(layer)).sum();
    let (a, b) = (built.clone(), built);
    let empty = Tensor::zeros(0, candle_core::DType::F32, &Device::Cpu)?;
    let other = empty.clone();
    Ok(Case::new(
        name,
        work,
        move || {
            a.iter()
                .try_fold(empty.clone(), |_, (conv, _, x, _)| conv.forward(x))
        },
        move || {
            b.iter()
                .try_fold(other.clone(), |_, (_, weight, x, layer)| {
                    forward_candle(weight, x, *layer)
                })
        },
    ))
}

/// The same with candle's own convolution, as one would write it without kernels.
fn forward_candle(
    weight: &Tensor,
    x: &Tensor,
    (_, out, k, stride, groups, ..): Layer,
) -> Result<Tensor> {
    let y = x.conv2d(weight, k / 2, stride, 1, groups)?;
    let bias = Tensor::zeros((1, out, 1, 1), y.dtype(), y.device())?;
    y.broadcast_add(&bias)?.silu()
}

fn attention(name: &str, q: [usize; 3], keys: usize) -> Result<Case> {
    let [groups, queries, d] = q;
    let (q, k) = (random(&q)?, random(&[groups, keys, d])?);
    let (q2, k2) = (q.clone(), k.clone());
    Ok(Case::new(
        name,
        (4 * groups * queries * keys * d) as f64 * 1e-9,
        move || kernels::attention(&q, &k, &k, 0.2),
        move || plain::attention(&q2, &k2, &k2, 0.2),
    ))
}

fn cases() -> Result<Vec<Case>> {
    let mut cases = vec![convolutions("yolo11n, all convolutions", YOLO11N)?];
    for layer in LAYERS {
        let (input, out, k, stride, groups, side, _) = layer;
        let depthwise = if groups > 1 { "depthwise" } else { "conv" };
        let name = format!("{depthwise} {k}x{k} s{stride} {input}-{out} {side}x{side}");
        cases.push(convolutions(&name, &[layer])?);
    }
    cases.push(attention(
        "attention 4 heads 1600 tokens x32",
        [4, 1600, 32],
        1600,
    )?);
    cases.push(attention(
        "attention 392 regions 64x256 x16",
        [392, 64, 16],
        256,
    )?);
    let one = |name: &str,
               x: Tensor,
               fast: fn(&Tensor) -> Result<Tensor>,
               candle: fn(&Tensor) -> Result<Tensor>| {
        let y = x.clone();
        Case::new(name, 0., move || fast(&x), move || candle(&y))
    };
    let map = random(&[1, 64, 80, 80])?;
    cases.push(one(
        "max pool 5 64x80x80",
        map.clone(),
        |x| kernels::max_pool2d_same(x, 5),
        |x| plain::max_pool2d_same(x, 5),
    ));
    cases.push(one(
        "upsample 2x 64x80x80",
        map.clone(),
        kernels::upsample_nearest2x,
        plain::upsample_nearest2x,
    ));
    cases.push(one(
        "softmax 6400 rows of 9",
        random(&[6400, 9])?,
        kernels::softmax_last,
        plain::softmax_last,
    ));
    cases.push(one(
        "softmax 1600 rows of 400",
        random(&[1600, 400])?,
        kernels::softmax_last,
        plain::softmax_last,
    ));
    let (w, other, w2) = (random(&[64])?, map.clone(), random(&[64])?);
    cases.push(Case::new(
        "layer norm 64x80x80",
        0.,
        move || kernels::layer_norm_channels(&map, &w, &w, 1e-5),
        move || plain::layer_norm_channels(&other, &w2, &w2, 1e-5),
    ));
    Ok(cases)
}

/// Runs one side of a case; the fastest single run in milliseconds, or None when it was filtered out.
fn fastest(
    criterion: &mut Criterion,
    name: &str,
    work: &dyn Fn() -> Result<Tensor>,
) -> Option<f64> {
    let best = Cell::new(f64::INFINITY);
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|runs| {
            let mut total = Duration::ZERO;
            for _ in 0..runs {
                let start = Instant::now();
                std::hint::black_box(work().expect("the shapes of the table fit"));
                let took = start.elapsed();
                best.set(best.get().min(took.as_secs_f64() * 1e3));
                total += took;
            }
            total
        });
    });
    Some(best.get()).filter(|best| best.is_finite())
}

fn main() -> Result<()> {
    // SAFETY: there is no other thread yet.
    unsafe { attnscope::kernels::one_pool() };
    attnscope::kernels::keep_memory();
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .without_plots()
        .configure_from_args();
    let mut table = Vec::new();
    for case in cases()? {
        let fast = fastest(&mut criterion, &format!("{}/kernel", case.name), &case.fast);
        let candle = fastest(
            &mut criterion,
            &format!("{}/candle", case.name),
            &case.candle,
        );
        if let (Some(fast), Some(candle)) = (fast, candle) {
            let speed = if case.gflop > 0. {
                format!("{:.1}", case.gflop / fast * 1e3)
            } else {
                "".into()
            };
            table.push(format!(
                "{:<36}{fast:>10.3}{speed:>9}{candle:>11.3}{:>8.1}",
                case.name,
                candle / fast
            ));
        }
    }
    criterion.final_summary();
    println!(
        "\n{:<36}{:>10}{:>9}{:>11}{:>8}",
        format!("{} threads", rayon::current_num_threads()),
        "kernel ms",
        "GFLOP/s",
        "candle ms",
        "ratio"
    );
    table.iter().for_each(|row| println!("{row}"));
    Ok(())
}
