# Poll for completion
curl https://api.tensorzero.com/v1/batches/batch_xyz789 \
  -H "Authorization: Bearer YOUR_API_KEY"
