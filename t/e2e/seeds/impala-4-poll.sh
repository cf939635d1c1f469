curl "$BASE_URL/v1/batches/batch-xyz789"
