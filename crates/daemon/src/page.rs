//! The frame that every daemon's admin page shares: layout, style sheet, refresh.
