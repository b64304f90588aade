//! f32 that begin at a cache line and are kept from one use to the next: allocated once, grown when needed.

/// One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Values whose first begins a cache line.
#[derive(Debug, Clone, Default)]
pub struct Buffer {
    lines: Vec<Line>,
    count: usize,
}

impl Buffer {
    /// `count` zeros.
    #[must_use]
    pub fn zeros(count: usize) -> Self {
        Self { lines: vec![Line([0.0; 16]); count.div_ceil(16)], count }
    }

    /// Room for `count` values, whatever they are: zeros, or what was there before.
    pub fn room(&mut self, count: usize) -> &mut [f32] {
        if self.lines.len() * 16 < count {
            // Nothing is copied, and the next use that needs a little more finds it.
            let more = if self.lines.is_empty() { count } else { count + count / 8 };
            self.lines = Vec::new();
            self.lines = vec![Line([0.0; 16]); more.div_ceil(16)];
        }
        self.count = count;
        self.values_mut()
    }

    /// The values.
    #[must_use]
    pub fn values(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `count` f32, one after another (`repr(C)`, 64 bytes of values in 64).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.count) }
    }

    /// The values, to be written.
    pub fn values_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `values`; the borrow of self is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.count) }
    }
}
