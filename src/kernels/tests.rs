//! Every fast path against its plain twin, on random shapes.

use candle_core::{Device, Result, Tensor};
use proptest::prelude::*;

use super::*;

/// Reproducible values in −2..2 that no pattern of the kernels matches.
pub(super) fn noise(shape: &[usize], seed: u64) -> Tensor {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let count = shape.iter().product();
    let values: Vec<f32> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 22) as f32 - 2.0
    })
    .take(count)
    .collect();
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

fn flat(x: &Tensor) -> Vec<f32> {
    x.flatten_all().unwrap().to_vec1().unwrap()
}

/// Largest difference, relative to the largest value.
pub(super) fn difference(fast: &Tensor, plain: &Tensor) -> f32 {
    assert_eq!(fast.dims(), plain.dims());
    let (a, b) = (flat(fast), flat(plain));
    let size = b.iter().fold(1e-20f32, |m, v| m.max(v.abs()));
    a.iter()
        .zip(&b)
        .fold(0.0f32, |m, (a, b)| m.max((a - b).abs()))
        / size
}

fn check(fast: Result<Tensor>, plain: Result<Tensor>) -> std::result::Result<(), TestCaseError> {
    let d = difference(&fast.unwrap(), &plain.unwrap());
    prop_assert!(d < 1e-5, "differs by {d} of the largest value");
    Ok(())
}

fn act(silu: bool) -> Activation {
    if silu {
        Activation::Silu
    } else {
        Activation::None
    }
}

/// Either of the two ways to make a convolution.
type NewConv = fn(Tensor, Option<Tensor>, usize, usize, usize, Activation) -> Result<Conv2d>;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn weighing((b, c, n) in (1..3usize, 1..9usize, 1..300usize), sum in any::<bool>(), seed in any::<u64>()) {
        let how = if sum { Weighing::Sum } else { Weighing::Product };
        let (x, channels) = (noise(&[b, c, n], seed), noise(&[b, c, 1], seed ^ 1));
        let places = noise(&[b, 1, n], seed ^ 2);
        check(weigh(&x, &channels, &places, how), plain::weigh(&x, &channels, &places, how))?;
        prop_assert!(weigh(&x, &places, &channels, how).is_err() || (c, n) == (1, 1));
    }

    #[test]
    fn means_of_cells(
        (b, c) in (1..3usize, 1..9usize),
        (rows, cols) in (1..9usize, 1..9usize),
        (h, w) in (1..12usize, 1..12usize),
        seed: u64,
    ) {
        let x = noise(&[b, c, rows * h, cols * w], seed);
        check(cell_means(&x, [h, w]), plain::cell_means(&x, [h, w]))?;
        prop_assert!(cell_means(&x, [h, cols * w + 1]).is_err() && cell_means(&x, [0, w]).is_err());
    }

    #[test]
    fn convolution(
        (b, h, w) in (1..3usize, 1..40usize, 1..70usize),
        (groups, group_in, group_out) in (1..4usize, 1..20usize, 1..20usize),
        (k, stride) in (1..6usize, 1..4usize),
        silu: bool,
        seed: u64,
    ) {
        let padding = k / 2;
        prop_assume!(h + 2 * padding >= k && w + 2 * padding >= k);
        let weight = noise(&[groups * group_out, group_in, k, k], seed);
        let bias = noise(&[groups * group_out], seed ^ 1);
        let x = noise(&[b, groups * group_in, h, w], seed ^ 2);
        let make = |new: NewConv| new(weight.clone(), Some(bias.clone()), stride, padding, groups, act(silu)).unwrap();
        check(make(Conv2d::new).forward(&x), make(Conv2d::plain).forward(&x))?;
    }

    #[test]
    fn minimal_filtering(
        (b, h, w) in (1..3usize, 1..40usize, 1..70usize),
        (channels, out) in (16..40usize, 32..50usize),
        padding in 0..4usize,
        silu: bool,
        seed: u64,
    ) {
        prop_assume!(h + 2 * padding >= 3 && w + 2 * padding >= 3);
        let weight = noise(&[out, channels, 3, 3], seed);
        let bias = noise(&[out], seed ^ 1);
        let x = noise(&[b, channels, h, w], seed ^ 2);
        let make = |new: NewConv| new(weight.clone(), Some(bias.clone()), 1, padding, 1, act(silu)).unwrap();
        check(make(Conv2d::new).forward(&x), make(Conv2d::plain).forward(&x))?;
    }

    #[test]
    fn pointwise_convolution(
        (b, h, w) in (1..3usize, 1..20usize, 1..20usize),
        (channels, out) in (1..70usize, 1..70usize),
        silu: bool,
        seed: u64,
    ) {
        let weight = noise(&[out, channels, 1, 1], seed);
        let x = noise(&[b, channels, h, w], seed ^ 2);
        let make = |new: NewConv| new(weight.clone(), None, 1, 0, 1, act(silu)).unwrap();
        check(make(Conv2d::new).forward(&x), make(Conv2d::plain).forward(&x))?;
    }

    #[test]
    fn depthwise_convolution(
        (b, channels, h, w) in (1..3usize, 1..9usize, 1..40usize, 1..70usize),
        k in prop::sample::select(vec![1usize, 2, 3, 4, 5, 7]),
        stride in 1..4usize,
        silu: bool,
        seed: u64,
    ) {
        let weight = noise(&[channels, 1, k, k], seed);
        let x = noise(&[b, channels, h, w], seed ^ 2);
        let padding = k / 2;
        let bias = noise(&[channels], seed ^ 1);
        let make = |new: NewConv| new(weight.clone(), Some(bias.clone()), stride, padding, channels, act(silu)).unwrap();
        check(make(Conv2d::new).forward(&x), make(Conv2d::plain).forward(&x))?;
    }

    #[test]
    fn max_pool((b, c, h, w) in (1..3usize, 1..5usize, 1..30usize, 1..40usize), half in 0..4usize, seed: u64) {
        // Negative values: a pool padded with zeros would show.
        let x = (noise(&[b, c, h, w], seed) - 3.0).unwrap();
        let k = 2 * half + 1;
        prop_assert_eq!(flat(&max_pool2d_same(&x, k).unwrap()), flat(&plain::max_pool2d_same(&x, k).unwrap()));
    }

    #[test]
    fn softmax(rows in 1..200usize, width in 1..100usize, seed: u64) {
        let x = (noise(&[rows, width], seed) * 8.0).unwrap();
        check(softmax_last(&x), plain::softmax_last(&x))?;
    }

    #[test]
    fn layer_norm((b, c, h, w) in (1..3usize, 2..70usize, 1..20usize, 1..20usize), seed: u64) {
        let (x, weight, bias) = (noise(&[b, c, h, w], seed), noise(&[c], seed ^ 1), noise(&[c], seed ^ 2));
        check(layer_norm_channels(&x, &weight, &bias, 1e-5), plain::layer_norm_channels(&x, &weight, &bias, 1e-5))?;
    }

    #[test]
    fn fused_attention(
        (g, n, m) in (1..5usize, 1..120usize, 1..120usize),
        (d, e) in (1..40usize, 1..40usize),
        transposed in prop::array::uniform3(any::<bool>()),
        seed: u64,
    ) {
        let make = |rows: usize, cols: usize, transposed: bool, seed| {
            if transposed { noise(&[g, cols, rows], seed).transpose(1, 2).unwrap() } else { noise(&[g, rows, cols], seed) }
        };
        let [tq, tk, tv] = transposed;
        let (q, k, v) = (make(n, d, tq, seed), make(m, d, tk, seed ^ 1), make(m, e, tv, seed ^ 2));
        let y = attention(&q, &k, &v, 0.3).unwrap();
        if tv && e > 1 && m > 1 {
            prop_assert!(y.transpose(1, 2).unwrap().is_contiguous());
        }
        check(Ok(y), plain::attention(&q, &k, &v, 0.3))?;
    }

    #[test]
    fn upsample((b, c, h, w) in (1..3usize, 1..5usize, 1..30usize, 1..30usize), seed: u64) {
        let x = noise(&[b, c, h, w], seed);
        prop_assert_eq!(flat(&upsample_nearest2x(&x).unwrap()), flat(&plain::upsample_nearest2x(&x).unwrap()));
    }
}

/// Typical layers, large enough that the threads share them, against candle's own convolution.
#[test]
fn layers_of_a_detector() {
    for (channels, out, size, k, stride, groups) in [
        (3, 16, 96, 3, 2, 1),
        (16, 32, 80, 3, 1, 1),
        (64, 64, 40, 3, 2, 1),
        (128, 80, 20, 1, 1, 1),
        (64, 64, 20, 3, 1, 64),
        (32, 64, 20, 3, 1, 4),
    ] {
        let x = noise(&[1, channels, size, size], 5);
        let weight = noise(&[out, channels / groups, k, k], 6);
        let bias = noise(&[out], 7);
        let conv = Conv2d::new(
            weight.clone(),
            Some(bias.clone()),
            stride,
            k / 2,
            groups,
            Activation::None,
        )
        .unwrap();
        let candle = x.conv2d(&weight, k / 2, stride, 1, groups).unwrap();
        let candle = candle
            .broadcast_add(&bias.reshape((1, out, 1, 1)).unwrap())
            .unwrap();
        let d = difference(&conv.forward(&x).unwrap(), &candle);
        assert!(d < 1e-5, "{conv:?}: differs by {d}");
    }
}

/// A 3×3 kernel on numbers one can follow.
#[test]
fn a_convolution_by_hand() {
    let x = Tensor::arange(0f32, 9.0, &Device::Cpu)
        .unwrap()
        .reshape((1, 1, 3, 3))
        .unwrap();
    let weight = Tensor::ones((1, 1, 3, 3), candle_core::DType::F32, &Device::Cpu).unwrap();
    let bias = Tensor::new(&[100f32], &Device::Cpu).unwrap();
    let conv = Conv2d::new(weight, Some(bias), 1, 1, 1, Activation::None).unwrap();
    let y = flat(&conv.forward(&x).unwrap());
    assert_eq!(
        y,
        [
            108.0, 115.0, 112.0, 121.0, 136.0, 127.0, 120.0, 133.0, 124.0
        ]
    );
}

#[test]
fn views_are_read_where_they_lie() {
    let x = noise(&[2, 12, 9, 7], 1);
    let part = x.narrow(1, 3, 6).unwrap();
    let weight = noise(&[5, 6, 3, 3], 2);
    let conv = Conv2d::new(weight, None, 1, 1, 1, Activation::Silu).unwrap();
    let whole = conv.forward(&part.contiguous().unwrap()).unwrap();
    assert_eq!(flat(&conv.forward(&part).unwrap()), flat(&whole));
    let half = max_pool2d_same(&x.narrow(0, 1, 1).unwrap(), 5).unwrap();
    let pooled = max_pool2d_same(&x, 5).unwrap();
    assert_eq!(flat(&half), flat(&pooled.narrow(0, 1, 1).unwrap()));
}

#[test]
fn the_number_of_threads_changes_no_byte() {
    let x = noise(&[1, 24, 33, 29], 1);
    let conv = Conv2d::new(noise(&[40, 24, 3, 3], 2), None, 1, 1, 1, Activation::Silu).unwrap();
    let q = noise(&[3, 100, 16], 3);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            (
                flat(&conv.forward(&x).unwrap()),
                flat(&attention(&q, &q, &q, 0.25).unwrap()),
            )
        })
    };
    let one = run(1);
    for threads in [2, 3, 7] {
        assert!(
            run(threads) == one,
            "{threads} threads give another result than one"
        );
    }
}

#[test]
fn nan_and_infinity_stay_where_they_belong() {
    let mut values = vec![1f32; 2 * 36];
    values[0] = f32::NAN;
    values[35] = f32::INFINITY;
    let x = Tensor::from_vec(values, (1, 2, 6, 6), &Device::Cpu).unwrap();
    let conv = Conv2d::new(noise(&[3, 2, 3, 3], 2), None, 1, 1, 1, Activation::Silu).unwrap();
    let y = flat(&conv.forward(&x).unwrap());
    assert!(y[0].is_nan());
    assert!(y[14].is_finite(), "a pixel that reaches neither");
    max_pool2d_same(&x, 3).unwrap();
    let masked = Tensor::new(&[[f32::NEG_INFINITY, 0.0, 0.0]], &Device::Cpu).unwrap();
    assert_eq!(flat(&softmax_last(&masked).unwrap()), [0.0, 0.5, 0.5]);
    let x = x.reshape((1, 12, 6)).unwrap();
    assert!(flat(&attention(&x, &x, &x, 1.0).unwrap())[0].is_nan());
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let conv = Conv2d::new(noise(&[4, 3, 3, 3], 1), None, 1, 0, 1, Activation::None).unwrap();
    let error = conv
        .forward(&noise(&[1, 5, 8, 8], 1))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("[1, 5, 8, 8]") && error.contains("expected 3 channels"),
        "{error}"
    );
    let error = conv
        .forward(&noise(&[1, 3, 2, 8], 1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("smaller than the kernel 3×3"), "{error}");
    assert!(Conv2d::new(noise(&[4, 3, 3, 1], 1), None, 1, 0, 1, Activation::None).is_err());
    assert!(
        Conv2d::new(
            noise(&[4, 3, 3, 3], 1),
            Some(noise(&[3], 1)),
            1,
            0,
            1,
            Activation::None
        )
        .is_err()
    );
    assert!(Conv2d::new(noise(&[4, 3, 3, 3], 1), None, 0, 0, 1, Activation::None).is_err());
    assert!(max_pool2d_same(&noise(&[1, 1, 4, 4], 1), 4).is_err());
    assert!(max_pool2d_same(&noise(&[4, 4], 1), 3).is_err());
    let (a, b) = (noise(&[2, 4, 8], 1), noise(&[2, 4, 7], 1));
    assert!(attention(&a, &b, &b, 1.0).is_err());
    assert!(attention(&a, &a, &noise(&[2, 3, 8], 1), 1.0).is_err());
    assert!(
        layer_norm_channels(
            &noise(&[1, 4, 2, 2], 1),
            &noise(&[3], 1),
            &noise(&[4], 1),
            1e-5
        )
        .is_err()
    );
}

#[test]
fn other_number_types_take_the_plain_path() {
    let double = |x: Tensor| x.to_dtype(candle_core::DType::F64).unwrap();
    let (weight, x) = (noise(&[4, 4, 3, 3], 1), noise(&[1, 4, 6, 6], 2));
    let single = Conv2d::new(weight.clone(), None, 2, 1, 1, Activation::Silu).unwrap();
    let conv = Conv2d::new(double(weight), None, 2, 1, 1, Activation::Silu).unwrap();
    let y = conv
        .forward(&double(x.clone()))
        .unwrap()
        .to_dtype(candle_core::DType::F32)
        .unwrap();
    assert!(difference(&single.forward(&x).unwrap(), &y) < 1e-5);
    assert_eq!(
        upsample_nearest2x(&double(x)).unwrap().dims(),
        [1, 4, 12, 12]
    );
}

#[test]
fn routed_attention_equals_its_twin() {
    // Regions of 1×1 to 3×5 tokens, one to all routes, equal and unequal widths, soft routing.
    for (n_win, [h, w], heads, qk, c, topk, soft) in [
        (2, [3, 5], 2, 8, 12, 3, false),
        (4, [1, 1], 4, 8, 8, 16, true),
        (3, [2, 7], 1, 5, 3, 1, false),
        (1, [9, 8], 3, 6, 9, 1, true),
    ] {
        let qkv = noise(&[1, 2 * qk + c, n_win * h, n_win * w], 7);
        let regions = n_win * n_win;
        let routed: Vec<u32> = (0..regions * topk)
            .map(|i| ((i * 5 + i / topk) % regions) as u32)
            .collect();
        let factors: Vec<f32> = (0..regions * topk)
            .map(|i| 0.1 + (i % 7) as f32 / 7.0)
            .collect();
        let routes = Routes {
            n_win,
            heads,
            qk_dim: qk,
            routed: &routed,
            weights: soft.then_some(&factors[..]),
            scale: 0.3,
        };
        let fast = routed_attention(&qkv, routes).unwrap();
        let twin = plain::routed_attention(&qkv, routes).unwrap();
        assert!(difference(&fast, &twin) < 1e-5, "n_win {n_win}");
    }
}

#[test]
fn routes_that_do_not_fit_are_refused() {
    let qkv = noise(&[1, 24, 4, 6], 1);
    let routes = |n_win, heads, routed| Routes {
        n_win,
        heads,
        qk_dim: 8,
        routed,
        weights: None,
        scale: 1.0,
    };
    assert!(routed_attention(&qkv, routes(2, 2, &[0, 1, 2, 3])).is_ok());
    assert!(routed_attention(&qkv, routes(2, 2, &[0, 1, 2, 4])).is_err());
    assert!(routed_attention(&qkv, routes(2, 2, &[0, 1, 2])).is_err());
    assert!(routed_attention(&qkv, routes(2, 3, &[0, 1, 2, 3])).is_err());
    assert!(routed_attention(&qkv, routes(4, 2, &[0; 16])).is_err());
}

#[test]
fn association_equals_its_twin() {
    // One cell, one row of cells, cells of one and of many lanes, narrow and wide ones, a batch.
    for (grid, cell, c, batch) in [
        ([1, 1], [3, 2], 5, 1),
        ([1, 4], [8, 8], 16, 1),
        ([5, 3], [1, 2], 7, 2),
        ([3, 2], [5, 7], 12, 2),
        ([2, 2], [4, 4], 1, 1),
    ] {
        let map = [grid[0] * cell[0], grid[1] * cell[1]];
        let cells = Cells::new(map, cell).unwrap();
        let x = noise(&[batch, c, map[0], map[1]], 3);
        let tokens = noise(&[batch, grid[0] * grid[1], c], 4);
        let a = affinity(&x, &tokens, cells, 0.7).unwrap();
        assert!(difference(&a, &plain::affinity(&x, &tokens, cells, 0.7).unwrap()) < 1e-5);
        let (means, mass) = weighted_means(&x, &a, cells).unwrap();
        let (twin, twin_mass) = plain::weighted_means(&x, &a, cells).unwrap();
        assert!(difference(&means, &twin) < 1e-5 && difference(&mass, &twin_mass) < 1e-5);
        let y = spread(&a, &tokens, cells).unwrap();
        assert!(difference(&y, &plain::spread(&a, &tokens, cells).unwrap()) < 1e-5);
    }
}

#[test]
fn cells_that_do_not_fit_are_refused() {
    assert!(Cells::new([8, 9], [4, 2]).is_err());
    assert!(Cells::new([8, 8], [0, 2]).is_err());
    let cells = Cells::new([8, 8], [4, 2]).unwrap();
    let x = noise(&[1, 3, 8, 8], 1);
    assert!(affinity(&x, &noise(&[1, 8, 3], 1), cells, 1.0).is_ok());
    assert!(affinity(&x, &noise(&[1, 7, 3], 1), cells, 1.0).is_err());
    assert!(affinity(&x, &noise(&[1, 8, 4], 1), cells, 1.0).is_err());
    assert!(weighted_means(&x, &noise(&[1, 9, 8, 4], 1), cells).is_err());
    assert!(spread(&noise(&[1, 9, 4, 8], 1), &noise(&[1, 8, 3], 1), cells).is_err());
}
