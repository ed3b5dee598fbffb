//! What others see of customers.

use std::sync::Arc;

use annals::http::{ETag, Fold, Money, Page, Problem};
use annals::persistence::{EventError, Filter, RecordedEvent};
use annals::prelude::{Aggregate, Version};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::{Customer, CustomerDetails, CustomerEvent};
use crate::Address;
use crate::catalogue::Catalogue;

/// A customer as an answer shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomerView {
    /// The customer's id.
    pub id: Uuid,
    /// First name.
    pub first_name: String,
    /// Last name.
    pub last_name: String,
    /// Where its orders go.
    pub shipping_address: Address,
    /// What it may still spend.
    pub credit_available: Money,
    /// The version of this state; a change has to name it.
    #[schema(example = "1")]
    pub e_tag: String,
}

impl CustomerView {
    /// The view of a customer at a version.
    #[must_use]
    pub fn new(id: Uuid, details: CustomerDetails, version: Version) -> Self {
        let CustomerDetails { first_name, last_name, shipping_address, credit_available } = details;
        let e_tag = ETag::text(version);
        Self { id, first_name, last_name, shipping_address, credit_available, e_tag }
    }
}

/// Every customer, in the order of creation.
#[derive(Debug, Default)]
pub(crate) struct Customers(Catalogue<CustomerView>);

impl Customers {
    /// Everything that the page asks for.
    pub(crate) fn page(&self, page: &Page) -> Result<Vec<Arc<CustomerView>>, Problem> {
        self.0.page(page)
    }

    fn take(&mut self, id: Uuid, event: CustomerEvent, recorded: &RecordedEvent) {
        match event {
            CustomerEvent::Created(details) => {
                let view = CustomerView::new(id, details, recorded.version);
                self.0.insert(id, recorded.position, view);
            }
            CustomerEvent::Removed {} => drop(self.0.remove(id)),
            CustomerEvent::Changed { first_name, last_name, credit_available } => self.amend(id, |view| {
                *view = CustomerView { first_name, last_name, credit_available, ..view.clone() };
            }),
            CustomerEvent::AddressChanged { shipping_address } => {
                self.amend(id, |view| view.shipping_address = shipping_address);
            }
        }
        self.amend(id, |view| view.e_tag = ETag::text(recorded.version));
    }

    fn amend(&mut self, id: Uuid, amend: impl FnOnce(&mut CustomerView)) {
        if let Some(view) = self.0.get_mut(id) {
            amend(view);
        }
    }
}

impl Fold for Customers {
    fn filter(&self) -> Filter {
        Filter::default().category(Customer::TYPE)
    }

    fn apply(&mut self, recorded: &RecordedEvent) -> Result<(), EventError> {
        let events = recorded.decode::<CustomerEvent>()?;
        // The API makes every customer under a UUID; another name is none of its customers.
        if let Ok(id) = Uuid::try_parse(recorded.stream.instance()) {
            events.into_iter().for_each(|event| self.take(id, event, recorded));
        }
        Ok(())
    }
}
