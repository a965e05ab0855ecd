//! Matrix products, convolutions and attention.

use ndarray::{
    Array2, Array4, ArrayD, ArrayView2, Axis, Dimension as _, Ix1, Ix2, Ix3, Ix4, IxDyn, s,
};

use super::super::patches::{Windows, pixels};
use super::products::{product, product_into};
use super::{Shared, rows};

fn matrix(x: &Shared) -> ArrayView2<'_, f32> {
    x.view().into_dimensionality::<Ix2>().expect("verified rank")
}

/// Product of the last two dimensions; leading ones broadcast.
pub(super) fn matmul(a: &Shared, b: &Shared) -> ArrayD<f32> {
    let rank = a.ndim().max(b.ndim());
    let [(m, k), (_, n)] = [a, b].map(|x| (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]));
    let batch = |x: &Shared, axis: usize| {
        if axis + x.ndim() < rank { 1 } else { x.shape()[axis + x.ndim() - rank] }
    };
    let leading: Vec<usize> = (0..rank - 2)
        .map(|axis| match (batch(a, axis), batch(b, axis)) {
            (1, other) | (other, _) => other,
        })
        .collect();
    if b.ndim() == 2 {
        // One product instead of one for each leading index.
        let rows = a
            .view()
            .into_shape_with_order((leading.iter().product::<usize>() * m, k))
            .expect("standard layout");
        let shape = [&leading[..], &[m, n]].concat();
        return product(&rows, &matrix(b))
            .into_shape_with_order(IxDyn(&shape))
            .expect("as many elements");
    }
    let shape = |rows: usize, columns: usize| IxDyn(&[&leading[..], &[rows, columns]].concat());
    let a = a.broadcast(shape(m, k)).expect("verified shapes");
    let b = b.broadcast(shape(k, n)).expect("verified shapes");
    let mut products = ArrayD::zeros(shape(m, n));
    for index in ndarray::indices(&leading[..]) {
        let (mut a, mut b, mut out) = (a.view(), b.view(), products.view_mut());
        for at in index.slice() {
            a.index_axis_inplace(Axis(0), *at);
            b.index_axis_inplace(Axis(0), *at);
            out.index_axis_inplace(Axis(0), *at);
        }
        let [a, b] =
            [a, b].map(|x| x.into_dimensionality::<Ix2>().expect("leading dimensions are gone"));
        let out = out.into_dimensionality::<Ix2>().expect("leading dimensions are gone");
        product_into(&a, &b, out);
    }
    products
}

/// `x w^T + b`.
pub(super) fn linear(x: &Shared, w: &Shared, b: &Shared) -> ArrayD<f32> {
    let mut y = product(&matrix(x), &matrix(w).t());
    y += &b.view().into_dimensionality::<Ix1>().expect("verified rank");
    y.into_dyn()
}

/// Mixes the heads of `x` by `w[heads_out, heads_in]` and adds `b[heads_out]`.
pub(super) fn mix_heads(x: &Shared, w: &Shared, b: &Shared, heads_in: usize) -> ArrayD<f32> {
    let (x, w) = (matrix(x), matrix(w));
    let features = x.ncols() / heads_in;
    let mut y = Array2::zeros((x.nrows(), w.nrows() * features));
    for (head, (w, b)) in w.rows().into_iter().zip(b).enumerate() {
        let mut mixed = y.slice_mut(s![.., head * features..(head + 1) * features]);
        mixed.fill(*b);
        for (source, w) in w.iter().enumerate() {
            mixed.scaled_add(*w, &x.slice(s![.., source * features..(source + 1) * features]));
        }
    }
    y.into_dyn()
}

/// Windows of the map `x[h*w, c]`.
pub(super) fn patches(x: &Shared, map: [usize; 2], windows: &Windows) -> Array2<f32> {
    let channels = x.shape()[1];
    let [down, across] = windows.positions(map);
    let rows = windows.rows(x.as_slice().expect("standard layout"), [map[0], map[1], channels]);
    let columns = windows.kernel[0] * windows.kernel[1] * channels;
    Array2::from_shape_vec((down * across, columns), rows).expect("one row per window")
}

/// Convolution of `x[n,c,h,w]` with `w[o,c/group,kh,kw]` as a product with patches.
pub(super) fn conv(
    x: &Shared,
    w: &Shared,
    bias: Option<&Shared>,
    windows: &Windows,
    group: usize,
) -> ArrayD<f32> {
    let x = x.view().into_dimensionality::<Ix4>().expect("verified rank");
    let (items, channels, height, width) = x.dim();
    let (outputs, taps) = (w.shape()[0], w.shape()[1..].iter().product());
    let w = w.view().permuted_axes(IxDyn(&[0, 2, 3, 1])).as_standard_layout().into_owned();
    let w = w.into_shape_with_order((outputs, taps)).expect("standard layout");
    let [down, across] = windows.positions([height, width]);
    let (inputs, outputs_each) = (channels / group, outputs / group);
    let mut y = Array4::zeros((items, outputs, down, across));
    for item in 0..items {
        for g in 0..group {
            let image = x.slice(s![item, g * inputs..(g + 1) * inputs, .., ..]);
            let map = pixels(image.as_slice().expect("standard layout"), inputs);
            let rows = windows.rows(&map, [height, width, inputs]);
            let rows =
                Array2::from_shape_vec((down * across, taps), rows).expect("one row per window");
            let channels = g * outputs_each..(g + 1) * outputs_each;
            let product = product(&w.slice(s![channels.clone(), ..]), &rows.t());
            let product = product
                .into_shape_with_order((outputs_each, down, across))
                .expect("standard layout");
            y.slice_mut(s![item, channels, .., ..]).assign(&product);
        }
    }
    if let Some(bias) = bias {
        y += &bias.view().into_shape_with_order((outputs, 1, 1)).expect("verified rank");
    }
    y.into_dyn()
}

/// `softmax(scale q k^T + bias) v` of every window and head; `observe` sees the scores of each.
pub(super) fn attention(
    operands: [&Shared; 3],
    bias: Option<&Shared>,
    keys: Option<&Shared>,
    windows: usize,
    heads: usize,
    scale: f64,
    observe: &mut dyn FnMut(ArrayView2<'_, f32>),
) -> ArrayD<f32> {
    let [q, k, v] = operands.map(matrix);
    let bias = bias.map(|bias| bias.view().into_dimensionality::<Ix3>().expect("verified rank"));
    let (features, values) = (q.ncols() / heads, v.ncols() / heads);
    let mut out = Array2::zeros((q.nrows(), v.ncols()));
    let (m, n) = (q.nrows() / windows, k.nrows() / windows);
    let mut scores = Array2::zeros((m, n));
    for (window, head) in (0..windows).flat_map(|window| (0..heads).map(move |head| (window, head)))
    {
        let (queries, rows) = (window * m..(window + 1) * m, window * n..(window + 1) * n);
        let columns = head * features..(head + 1) * features;
        let (q, k) =
            (q.slice(s![queries.clone(), columns.clone()]), k.slice(s![rows.clone(), columns]));
        product_into(&q, &k.t(), scores.view_mut());
        scores *= scale as f32;
        if let Some(bias) = &bias {
            // All windows may share the bias.
            scores += &bias.index_axis(Axis(0), (window * heads + head) % bias.shape()[0]);
        }
        for (mut column, _) in scores
            .columns_mut()
            .into_iter()
            .zip(keys.into_iter().flatten())
            .filter(|(_, x)| **x == 0.0)
        {
            column.fill(f32::NEG_INFINITY);
        }
        observe(scores.view());
        scores.rows_mut().into_iter().for_each(rows::softmax);
        let columns = head * values..(head + 1) * values;
        let v = v.slice(s![rows, columns.clone()]);
        product_into(&scores.view(), &v, out.slice_mut(s![queries, columns]));
    }
    out.into_dyn()
}
