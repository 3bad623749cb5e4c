// What a program that charts usage asks by lago-javascript-client; prints the rows as JSON.
// Arguments: URL of the client's module, of the worker, key, first and last day.
const [module, url, key, from_date, to_date] = process.argv.slice(2);
const { Client } = await import(module);
const client = Client(key, { baseUrl: `${url}/api/v1` });
const got = {};
for (const time_granularity of ["daily", "weekly", "monthly"]) {
  const query = { time_granularity, from_date, to_date, external_subscription_id: "s1" };
  got[time_granularity] = (await client.analytics.findAllUsages(query)).data.usages;
}
console.log(JSON.stringify(got));
