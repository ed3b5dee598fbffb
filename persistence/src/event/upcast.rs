//! From an old version of an event to the events of today.

use smallvec::SmallVec;

use crate::Event;

/// The events that one record stands for today: one, unless an upcaster says otherwise.
pub type Events<E> = SmallVec<[E; 1]>;

/// An old version of an event, kept as a struct of its own so that its records can be read for good.
///
/// It becomes the next version: the struct of that version, or, from the last old version, the event itself. Where one
/// old event is several today, the last step yields an array or a `Vec` of them; where it means nothing any more, an
/// empty one. Each step is total: what was recorded happened, and cannot be refused now.
///
/// ```
/// use annals_persistence::Upcast;
///
/// struct DepositedV1 { cents: String }
/// struct DepositedV2 { cents: i64 }
///
/// impl Upcast for DepositedV1 {
///     type Next = DepositedV2;
///
///     fn upcast(self) -> DepositedV2 {
///         DepositedV2 { cents: self.cents.parse().unwrap_or_default() }
///     }
/// }
///
/// assert_eq!(DepositedV1 { cents: "7".into() }.upcast().cents, 7);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is an old version of an event, and nothing says what it is today",
    note = "write `impl Upcast for {Self}`: it becomes the struct of the next version, or the event itself"
)]
pub trait Upcast: Sized {
    /// The next version.
    type Next;

    /// This event as the next version tells it.
    fn upcast(self) -> Self::Next;
}

/// What the last upcaster of a chain may yield: an event of today, or several.
#[diagnostic::on_unimplemented(
    message = "the upcaster of the last old version yields `{Self}`, and not `{E}`",
    note = "its `Next` is `{E}`, or an array or a `Vec` of it where the old event is several events today"
)]
pub trait IntoEvents<E> {
    /// The events, in the order in which they are to be applied.
    fn into_events(self) -> Events<E>;
}

impl<E: Event> IntoEvents<E> for E {
    fn into_events(self) -> Events<E> {
        SmallVec::from_buf([self])
    }
}

impl<E: Event, const N: usize> IntoEvents<E> for [E; N] {
    fn into_events(self) -> Events<E> {
        self.into_iter().collect()
    }
}

impl<E: Event> IntoEvents<E> for Vec<E> {
    fn into_events(self) -> Events<E> {
        self.into()
    }
}
