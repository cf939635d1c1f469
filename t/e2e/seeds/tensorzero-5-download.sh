# Download the output file
curl https://api.tensorzero.com/v1/files/file-output123/content \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -o results.jsonl
