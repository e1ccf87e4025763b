//! Asking for memory before it is read.

/// Asks the processor to load an item that will be read soon: with very many queries, waiting for memory is most of
/// the work, and lookups that do not depend on each other can wait together.
#[inline]
pub(crate) fn item<T>(items: &[T], at: usize) {
    if let Some(item) = items.get(at) {
        let start = std::ptr::from_ref(item).cast::<i8>();
        load(start);
        if size_of::<T>() > 32 {
            load(start.wrapping_add(size_of::<T>() - 1));
        }
    }
}

/// The same for the first bytes of a list or text, at most so many.
#[inline]
pub(crate) fn bytes<T>(items: &[T], most: usize) {
    let start = items.as_ptr().cast::<i8>();
    (0..size_of_val(items).min(most)).step_by(64).for_each(|offset| load(start.wrapping_add(offset)));
}

#[inline]
fn load(address: *const i8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // A hint: it reads nothing and cannot fault.
        #[allow(unsafe_code)]
        unsafe {
            _mm_prefetch(address, _MM_HINT_T0);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
