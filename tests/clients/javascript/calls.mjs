// What a program that uses lago-javascript-client does; prints what it got back as JSON.
// Arguments: URL of the client's module, of the worker, key, instants in the previous month.
const [module, url, key, previousMonth, earlier] = process.argv.slice(2);
const { Client, getLagoError } = await import(module);
const client = Client(key, { baseUrl: `${url}/api/v1` });
const got = {};

async function refused(name, call) {
  try {
    await call;
  } catch (error) {
    got[name] = { status: error.status, body: await getLagoError(error) };
    return;
  }
  throw new Error(`${name}: it should have failed`);
}

async function keep(name, call) {
  got[name] = (await call).data;
  return got[name];
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

// Metrics
const storage = await keep("metric", client.billableMetrics.createBillableMetric({
  billable_metric: {
    name: "Storage",
    code: "storage",
    aggregation_type: "sum_agg",
    field_name: "gb",
    filters: [{ key: "region", values: ["eu", "us"] }],
  },
}));
const calls = await keep("calls", client.billableMetrics.createBillableMetric({
  billable_metric: { name: "Calls", code: "calls", aggregation_type: "count_agg" },
}));
await keep("metricUpdated", client.billableMetrics.updateBillableMetric("storage", {
  billable_metric: { name: "Disk" },
}));
await keep("metricFound", client.billableMetrics.findBillableMetric("storage"));
await keep("metrics", client.billableMetrics.findAllBillableMetrics({ per_page: 1, page: 2 }));

// Plan, customer, subscription
await keep("plan", client.plans.createPlan({
  plan: {
    name: "Plan",
    code: "plan",
    interval: "monthly",
    amount_cents: 0,
    amount_currency: "EUR",
    pay_in_advance: false,
    charges: [
      {
        billable_metric_id: storage.billable_metric.lago_id,
        charge_model: "standard",
        properties: { amount: "1" },
        filters: [{ values: { region: ["eu"] }, properties: { amount: "2" } }],
      },
      {
        billable_metric_id: calls.billable_metric.lago_id,
        charge_model: "standard",
        properties: { amount: "1", pricing_group_keys: ["zone"] },
      },
    ],
  },
}));
await keep("planUpdated", client.plans.updatePlan("plan", { plan: { name: "Renamed" } }));
await keep("plans", client.plans.findAllPlans());

// Charges and filters of the plan, one by one
await keep("chargeMade", client.plans.createPlanCharge("plan", {
  charge: {
    billable_metric_id: storage.billable_metric.lago_id,
    code: "extra",
    charge_model: "standard",
    properties: { amount: "1" },
    cascade_updates: false,
  },
}));
await keep("chargeUpdated", client.plans.updatePlanCharge("plan", "extra", {
  charge: { charge_model: "standard", invoice_display_name: "Extra" },
}));
const { filter } = await keep("filterMade", client.plans.createPlanChargeFilter("plan", "extra", {
  filter: { values: { region: ["us"] }, properties: { amount: "3" } },
}));
await keep("filterUpdated", client.plans.updatePlanChargeFilter("plan", "extra", filter.lago_id, {
  filter: { properties: { amount: "4" } },
}));
await keep("filterFound", client.plans.findPlanChargeFilter("plan", "extra", filter.lago_id));
await keep("filters", client.plans.findAllPlanChargeFilters("plan", "extra"));
await keep("chargeFound", client.plans.findPlanCharge("plan", "extra"));
await keep("charges", client.plans.findAllPlanCharges("plan", { per_page: 2, page: 1 }));
await keep("filterGone", client.plans.destroyPlanChargeFilter("plan", "extra", filter.lago_id, {
  filter: { cascade_updates: false },
}));
await keep("chargeGone", client.plans.destroyPlanCharge("plan", "extra", {
  charge: { cascade_updates: false },
}));
await refused("chargeUnknown", client.plans.findPlanCharge("plan", "extra"));

await keep("customer", client.customers.createCustomer({
  customer: { external_id: "customer", name: "A", timezone: "UTC" },
}));
await keep("customers", client.customers.findAllCustomers());
await keep("subscription", client.subscriptions.createSubscription({
  subscription: {
    external_customer_id: "customer",
    plan_code: "plan",
    external_id: "subscription",
    subscription_at: previousMonth,
  },
}));
await keep("subscriptionUpdated", client.subscriptions.updateSubscription("subscription", {
  status: "active",
  subscription: { name: "Mine" },
}));
await keep("subscriptions", client.subscriptions.findAllSubscriptions({
  "status[]": ["active", "pending"],
}));
await keep("subscriptionCharges", client.subscriptions.findAllSubscriptionCharges("subscription"));
await keep("customerSubscriptions", client.customers.findAllCustomerSubscriptions("customer"));

// Events
const event = (transactionId, code, more) => ({
  transaction_id: transactionId,
  external_subscription_id: "subscription",
  code,
  ...more,
});
await keep("event", client.events.createEvent({
  event: event("one", "storage", {
    timestamp: Number(earlier),
    properties: { gb: 1.5, region: "eu" },
  }),
}));
await keep("batch", client.events.createBatchEvents({
  events: [
    event("two", "storage", { timestamp: earlier, properties: { gb: "2", region: "us" } }),
    event("three", "calls", { properties: { zone: "a" } }),
    event("four", "calls", { properties: { zone: "b" } }),
  ],
}));
await keep("eventFound", client.events.findEvent("two"));
await keep("events", client.events.findAllEvents({ external_subscription_id: "subscription" }));
await refused("eventAgain", client.events.createEvent({ event: event("one", "storage") }));

// Usage
const subscription = { external_subscription_id: "subscription" };
const late = Date.now() + 20_000;
do {
  await pause(100);
  await keep("usage", client.customers.findCustomerCurrentUsage("customer", subscription));
} while (
  !got.usage.customer_usage.charges_usage.some((each) => each.units === "2.0") && Date.now() < late
);
do {
  await pause(100);
  await keep("past", client.customers.findAllCustomerPastUsage("customer", {
    ...subscription,
    periods_count: 2,
  }));
} while (got.past.usage_periods[0]?.charges_usage[0]?.units !== "3.5" && Date.now() < late);

await keep("analytics", client.analytics.findAllUsages({ time_granularity: "monthly" }));
await refused("analyticsRefused", client.analytics.findAllUsages({ time_granularity: "hourly" }));
await keep("fullUsage", client.customers.findCustomerCurrentUsage("customer", {
  ...subscription,
  full_usage: true,
  billable_metric_code: "storage",
}));
await refused("fullUsageRefused", client.customers.findCustomerCurrentUsage("customer", {
  ...subscription,
  full_usage: true,
}));
await keep("projected", client.customers.findCustomerProjectedUsage("customer", subscription));

// Terms of one subscription, alerts, webhooks, the organization
await keep("charge", client.subscriptions.overrideSubscriptionCharge("subscription", "calls", {
  charge: { invoice_display_name: "Ours" },
}));
await keep("chargeOwn", client.subscriptions.findSubscriptionCharge("subscription", "calls"));
const ours = ["subscription", "storage"];
const added = await keep("chargeFilter", client.subscriptions.createSubscriptionChargeFilter(
  ...ours,
  { filter: { values: { region: ["us"] }, properties: { amount: "3" } } },
));
const ourFilter = [...ours, added.filter.lago_id];
await keep("chargeFilterUpdated", client.subscriptions.updateSubscriptionChargeFilter(
  ...ourFilter,
  { filter: { properties: { amount: "4" } } },
));
await keep("chargeFilterFound", client.subscriptions.findSubscriptionChargeFilter(...ourFilter));
await keep("chargeFilters", client.subscriptions.findAllSubscriptionChargeFilters(...ours));
await keep("chargeFilterGone", client.subscriptions.destroySubscriptionChargeFilter(...ourFilter));
await keep("alert", client.subscriptions.createSubscriptionAlert("subscription", {
  alert: {
    alert_type: "billable_metric_current_usage_units",
    code: "many",
    billable_metric_code: "calls",
    thresholds: [{ code: "warn", value: "10" }, { value: "5", recurring: true }],
  },
}));
await keep("alertFound", client.subscriptions.getSubscriptionAlert("subscription", "many"));
await keep("alerts", client.subscriptions.getSubscriptionAlerts("subscription"));
await keep("alertUpdated", client.subscriptions.updateSubscriptionAlert("subscription", "many", {
  alert: { name: "Many calls" },
}));
await keep("alertGone", client.subscriptions.deleteSubscriptionAlert("subscription", "many"));
await keep("alertsGone", client.subscriptions.deleteAllSubscriptionAlerts("subscription"));
await refused("estimate", client.events.eventEstimateFees({ event: event("five", "calls") }));
await refused("estimateInstant", client.events.eventEstimateInstantFees({
  event: event("five", "calls"),
}));
await refused("estimateInstants", client.events.eventBatchEstimateInstantFees({
  events: [event("five", "calls")],
}));
await keep("endpoint", client.webhookEndpoints.createWebhookEndpoint({
  webhook_endpoint: { webhook_url: "https://example.com/lago", signature_algo: "hmac" },
}));
const endpointId = got.endpoint.webhook_endpoint.lago_id;
await keep("endpointUpdated", client.webhookEndpoints.updateWebhookEndpoint(endpointId, {
  webhook_endpoint: { webhook_url: "https://example.com/moved" },
}));
await keep("endpointFound", client.webhookEndpoints.findWebhookEndpoint(endpointId));
await keep("endpoints", client.webhookEndpoints.findAllWebhookEndpoints());
await keep("endpointGone", client.webhookEndpoints.destroyWebhookEndpoint(endpointId));
await refused("publicKey", client.webhooks.fetchJsonPublicKey());
await keep("organization", client.organizations.updateOrganization({
  organization: { timezone: "Europe/Paris" },
}));
await keep("organizationFound", client.organizations.findOrganization());
await keep("entities", client.billingEntities.listBillingEntities());
await keep("entity", client.billingEntities.getBillingEntity("default"));

// Refusals and the end
await refused("nameless", client.billableMetrics.createBillableMetric({
  billable_metric: { code: "nameless", aggregation_type: "count_agg" },
}));
await refused("unknown", client.billableMetrics.findBillableMetric("unknown"));
const stranger = Client("nobody", { baseUrl: `${url}/api/v1` });
await refused("stranger", stranger.plans.findAllPlans());
await keep("terminated", client.subscriptions.destroySubscription("subscription"));
await refused("ended", client.customers.findCustomerCurrentUsage("customer", subscription));
await keep("planGone", client.plans.destroyPlan("plan"));
await keep("metricGone", client.billableMetrics.destroyBillableMetric("storage"));
await keep("customerGone", client.customers.destroyCustomer("customer"));

process.stdout.write(JSON.stringify(got));
