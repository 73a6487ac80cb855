package weak
