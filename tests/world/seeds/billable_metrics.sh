curl --location --request POST "$LAGO_URL/api/v1/billable_metrics" \
  --header "Authorization: Bearer $API_KEY" \
  --header 'Content-Type: application/json' \
  --data-raw '{
    "billable_metric": {
      "name": "Storage",
      "code": "storage",
      "description": "Number of GB used",
      "aggregation_type": "sum_agg",
      "field_name": "gb",
      "recurring": false,
      "group": {
        "key": "provider",
        "value": ["aws", "google", "azure"]
      }
    }
  }'

curl --location --request POST "$LAGO_URL/api/v1/billable_metrics" \
  --header "Authorization: Bearer $API_KEY" \
  --header 'Content-Type: application/json' \
  --data-raw '{
    "billable_metric": {
      "name": "Seats",
      "code": "seats",
      "description": "Active seats added",
      "aggregation_type": "unique_count_agg",
      "field_name": "seat_id",
      "recurring": true
    }
  }'

curl --location --request POST "$LAGO_URL/api/v1/billable_metrics" \
  --header "Authorization: Bearer $API_KEY" \
  --header 'Content-Type: application/json' \
  --data-raw '{
    "billable_metric": {
      "name": "CPU",
      "code": "cpu",
      "description": "Maximum number of CPUs used",
      "aggregation_type": "max_agg",
      "field_name": "total_cpu",
      "recurring": false
    }
  }'

curl --location --request POST "$LAGO_URL/api/v1/billable_metrics" \
  --header "Authorization: Bearer $API_KEY" \
  --header 'Content-Type: application/json' \
  --data-raw '{
    "billable_metric": {
      "name": "Payments",
      "code": "payments",
      "description": "Card payments issued",
      "aggregation_type": "sum_agg",
      "field_name": "amount",
      "recurring": false
    }
  }'
