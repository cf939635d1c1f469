curl "$BASE_URL/v1/files/<output_file_id>/content" > output.jsonl
