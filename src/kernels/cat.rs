//! Joining tensors.

use candle_core::{Result, Shape, Tensor, bail};
use rayon::prelude::*;

use super::is_fast;
use super::maps::Held;
use super::output::{Parts, filled};

/// Values that one task copies at least.
const CHUNK: usize = 32 << 10;

/// Tensors that differ in no other axis than `axis`, one after the other along it.
///
/// # Errors
/// When they differ in another axis, or there are none.
pub fn cat(tensors: &[Tensor], axis: usize) -> Result<Tensor> {
    if !tensors.iter().all(is_fast) {
        return Tensor::cat(tensors, axis);
    }
    let Some(first) = tensors.first() else {
        bail!("no tensors to join");
    };
    let (values, shape) = joined(tensors, axis)?;
    Tensor::from_vec(values, shape, first.device())
}

/// The values of [`cat`], row-major.
///
/// # Errors
/// As [`cat`].
pub fn cat_values(tensors: &[Tensor], axis: usize) -> Result<Vec<f32>> {
    if !tensors.iter().all(is_fast) || tensors.is_empty() {
        return Tensor::cat(tensors, axis)?.flatten_all()?.to_vec1();
    }
    Ok(joined(tensors, axis)?.0)
}

fn joined(tensors: &[Tensor], axis: usize) -> Result<(Vec<f32>, Shape)> {
    let mut dims = tensors[0].dims().to_vec();
    if axis >= dims.len() {
        bail!("tensors {dims:?} joined along axis {axis}");
    }
    dims[axis] = 0;
    for tensor in tensors {
        let own = tensor.dims();
        let same =
            own.len() == dims.len() && (0..own.len()).all(|i| i == axis || own[i] == dims[i]);
        if !same {
            bail!(
                "{:?} joined with {own:?} along axis {axis}",
                tensors[0].dims()
            );
        }
        dims[axis] += own[axis];
    }
    let outer: usize = dims[..axis].iter().product();
    let inner: usize = dims[axis + 1..].iter().product();
    let contiguous = tensors.iter().map(Tensor::contiguous);
    let contiguous = contiguous.collect::<Result<Vec<_>>>()?;
    let held = Held::new(&contiguous);
    // Pieces of each tensor and where they go.
    let mut pieces = Vec::new();
    for i in 0..outer {
        let mut to = i * dims[axis] * inner;
        for values in held.values()? {
            let len = values.len() / outer;
            for piece in values[i * len..(i + 1) * len].chunks(CHUNK) {
                pieces.push((to, piece));
                to += piece.len();
            }
        }
    }
    let fill = |out: Parts<'_>| {
        let least = (pieces.len() * CHUNK / (outer * dims[axis] * inner).max(1)).max(1);
        pieces
            .par_iter()
            .with_min_len(least)
            // SAFETY: the pieces follow each other.
            .for_each(|(to, piece)| unsafe { out.write(*to, piece) });
    };
    // SAFETY: the pieces cover everything.
    let values = unsafe { filled(outer * dims[axis] * inner, fill) };
    Ok((values, Shape::from(dims)))
}

#[cfg(test)]
mod tests {
    use super::super::tests::noise;
    use super::*;

    #[test]
    fn joined_tensors_equal_candles() {
        let long = CHUNK + 3;
        for (shapes, axis) in [
            (
                vec![vec![1, 3, 4, 5], vec![1, 2, 4, 5], vec![1, 9, 4, 5]],
                1,
            ),
            (vec![vec![6, 5], vec![6, 1], vec![6, 3]], 1),
            (vec![vec![2, long], vec![1, long]], 0),
            (vec![vec![2, 3, 0], vec![2, 3, 4]], 2),
            (vec![vec![0, 3], vec![0, 2]], 1),
        ] {
            let parts = shapes.iter().enumerate();
            let parts: Vec<Tensor> = parts.map(|(i, shape)| noise(shape, i as u64)).collect();
            let want = Tensor::cat(&parts, axis).unwrap();
            let got = cat(&parts, axis).unwrap();
            assert_eq!(got.dims(), want.dims());
            let flat = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(flat(&got), flat(&want));
            assert_eq!(cat_values(&parts, axis).unwrap(), flat(&want));
        }
        let x = noise(&[1, 8, 4, 4], 1);
        let views = [
            x.narrow(1, 5, 2).unwrap().transpose(2, 3).unwrap(),
            x.narrow(1, 0, 3).unwrap(),
        ];
        let want = Tensor::cat(&views, 1).unwrap();
        assert_eq!(
            cat_values(&views, 1).unwrap(),
            want.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        );
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        assert!(cat(&[], 0).is_err());
        assert!(cat(&[noise(&[2, 3], 1), noise(&[3, 3], 1)], 1).is_err());
        assert!(cat(&[noise(&[2, 3], 1), noise(&[2, 3, 1], 1)], 1).is_err());
        assert!(cat(&[noise(&[2, 3], 1)], 2).is_err());
    }
}
