# Upload the file
curl -X POST https://api.tensorzero.com/v1/files \
  -H "Authorization: Bearer YOUR_API_KEY" \
  -F "file=@requests.jsonl" \
  -F "purpose=batch"
