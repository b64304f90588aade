//! Catches what llama.cpp would print, so that errors can say why: its calls only return null.

use super::Error;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_void};
use std::sync::{Mutex, PoisonError};

/// Warnings and errors kept.
const KEPT: usize = 100;
static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());

/// The last warnings and errors of llama.cpp, oldest first, at most 100.
#[must_use]
pub fn lines() -> Vec<String> {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Forgets them, so that a following failure shows its own only.
pub(super) fn forget() {
    LINES.lock().unwrap_or_else(PoisonError::into_inner).clear();
}

/// The error for a call that returned nothing.
pub(super) fn failure(action: &'static str) -> Error {
    let lines = lines();
    let log = if lines.is_empty() { "it does not say why".to_owned() } else { lines.join("; ") };
    Error::Llama { action, log }
}

/// Sends llama.cpp's and ggml's log here from now on.
#[expect(unsafe_code, reason = "the log callback is C")]
pub(super) fn capture() {
    // SAFETY: `keep` is a function of the signature asked for, lives forever and does not unwind
    // (it neither indexes nor unwraps); its user data is not used.
    unsafe { llama_cpp_sys_2::llama_log_set(Some(keep), std::ptr::null_mut()) }
}

#[expect(unsafe_code, reason = "the log callback is C")]
unsafe extern "C" fn keep(level: llama_cpp_sys_2::ggml_log_level, text: *const c_char, _: *mut c_void) {
    let loud = level == llama_cpp_sys_2::GGML_LOG_LEVEL_WARN || level == llama_cpp_sys_2::GGML_LOG_LEVEL_ERROR;
    if !loud || text.is_null() {
        return;
    }
    // SAFETY: llama.cpp passes a string that ends in zero and outlives the call.
    let line = unsafe { CStr::from_ptr(text) }.to_string_lossy().trim().to_owned();
    let mut lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    if lines.len() == KEPT {
        lines.pop_front();
    }
    lines.push_back(line);
}
