//! Numbers for tensors that a weights file lacks: the same on every machine.

use candle_nn::Init;

/// Numbers of a tensor by its name and shape. BatchNorm and LayerNorm become the identity, biases
/// zero, or what the network starts them with; weights are uniform with the variance that He et al. (2015) give for rectifiers,
/// `2 / fan_in`.
pub(super) fn numbers(name: &str, shape: &[usize], init: Init) -> Vec<f32> {
    let count = shape.iter().product();
    let last = name.rsplit('.').next().unwrap_or(name);
    let beyond_first = shape.iter().skip(1);
    let fan_in: usize = beyond_first.product();
    let constant = match last {
        "running_mean" => Some(0.0),
        "running_var" => Some(1.0),
        _ if last.contains("bias") => match init {
            Init::Const(value) => Some(value as f32),
            _ => Some(0.0),
        },
        // One number per channel scales it: a norm, or a layer scale.
        _ if fan_in == 1 && shape.len() != 4 => Some(1.0),
        _ => None,
    };
    if let Some(value) = constant {
        return vec![value; count];
    }
    let bound = (6.0 / fan_in.max(1) as f32).sqrt();
    let mut state = seed(name);
    std::iter::repeat_with(|| uniform(&mut state) * bound)
        .take(count)
        .collect()
}

/// A 64-bit FNV-1a hash.
fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// From −1 up to 1, by splitmix64.
fn uniform(state: &mut u64) -> f32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^= z >> 31;
    // 24 bits fit a float exactly.
    (z >> 40) as f32 * (2.0 / (1u32 << 24) as f32) - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZERO: Init = Init::Const(0.0);

    #[test]
    fn weights_have_the_variance_that_keeps_a_signal() {
        let numbers = numbers("model.0.conv.weight", &[64, 16, 3, 3], ZERO);
        let n = numbers.len() as f64;
        let mean = numbers.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = numbers.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        // Four standard errors of the mean of so many numbers.
        assert!(mean.abs() < 5e-3, "{mean}");
        let expected = 2.0 / (16.0 * 9.0);
        assert!(
            (variance / expected - 1.0).abs() < 0.03,
            "{variance} beside {expected}"
        );
    }

    #[test]
    fn a_name_gives_the_same_numbers_for_ever() {
        let a = numbers("model.9.stoken_refine.qkv.weight", &[2, 3], ZERO);
        // As another implementation of FNV-1a and splitmix64 gives them.
        let stated = [
            -0.59299415,
            -0.13884217,
            -0.3247804,
            1.1852617,
            -0.7594965,
            -1.2402277,
        ];
        assert_eq!(a, stated);
        assert_ne!(
            a,
            numbers("model.8.stoken_refine.qkv.weight", &[2, 3], ZERO)
        );
    }

    #[test]
    fn norms_are_the_identity_and_biases_zero() {
        for (name, shape, value) in [
            ("model.0.bn.weight", &[4][..], 1.0),
            ("model.0.bn.bias", &[4], 0.0),
            ("model.0.bn.running_mean", &[4], 0.0),
            ("model.0.bn.running_var", &[4], 1.0),
            ("model.9.conv_up.1.weight", &[4, 1, 1], 1.0),
            ("model.9.qkv.qkv.bias", &[4], 0.0),
        ] {
            assert_eq!(numbers(name, shape, ZERO), vec![value; 4], "{name}");
        }
        let rare = numbers("model.23.cv3.0.2.bias", &[2], Init::Const(-11.5));
        assert_eq!(rare, [-11.5; 2]);
    }
}
